import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const program = fileURLToPath(new URL('./leaving.js', import.meta.url))

test('openChannel() fails the calls of a server that leaves, when one of them is given up while the leave is read', async () => {
  const options = { timeout: 10_000, killSignal: 'SIGKILL' } as const
  const { stdout } = await promisify(execFile)(process.execPath, [program], options)
  assert.equal(stdout, 'failed failed\n')
})

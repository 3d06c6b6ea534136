import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { addressText } from '../../src/rpc/address.ts'
import { bench } from './bench.ts'

const program = fileURLToPath(new URL('./exits.js', import.meta.url))

/** What the program printed. Rejects when it has to be killed. */
async function run(...names: readonly string[]): Promise<string> {
  const options = { timeout: 10_000 }
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    [program, ...names],
    options,
  )
  assert.equal(stderr, '')
  return stdout
}

for (const how of ['close', 'destroy']) {
  test(`A process ends by itself after ${how}() with a call under way`, async () => {
    assert.equal(await run(how), 'failed\n')
  })
}

test('A process ends by itself with an open channel that carries no call', async (t) => {
  const on = await bench(t)
  assert.equal(await run('idle', addressText(on.server.address)), 'answered\n')
})

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { tcp } from '../../../src/transport/tcp/tcp.ts'
import { hostOf } from '../pair.ts'
import { contentOf, PieceShelf } from '../piece-shelf.ts'

const script = fileURLToPath(new URL('./exits.js', import.meta.url))

/** Runs the script to its end, which must come by itself. */
async function run(...args: string[]): Promise<void> {
  const child = spawn(process.execPath, [script, ...args], { timeout: 10_000 })
  let out = ''
  child.stdout.on('data', (bytes: Buffer) => {
    out += bytes.toString()
  })
  child.stderr.on('data', (bytes: Buffer) => {
    out += bytes.toString()
  })
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.on('close', (exitCode, exitSignal) => resolve([exitCode, exitSignal])),
  )
  assert.deepEqual({ out, code, signal }, { out: 'done', code: 0, signal: null })
}

describe('a process', () => {
  it('exits with kept connections: they hold nothing up', async () => {
    const parent = tcp()(hostOf(new PieceShelf(contentOf(300_000), 300_000)))
    const at = await parent.listen()
    try {
      await run('child', String(at?.port))
    } finally {
      await parent.close()
    }
  })

  it('exits when both sides are closed, with no socket and no timer left', async () => {
    await run('pair')
  })
})

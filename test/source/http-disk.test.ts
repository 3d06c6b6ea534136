import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { loadFlow } from '../../src/util/flow.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { gate } from '../support/native-build.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { digestOf, MiB } from '../storage/filling.ts'

if (loadFlow() !== undefined) {
  test('http.read() takes a disk that hangs for no silence of the origin', {
    timeout: 20_000,
  }, async (t) => {
    const script = fileURLToPath(new URL('./gated-disk.js', import.meta.url))
    const child = spawn(process.execPath, [script, join(tempFolder(t), 'to')], {
      env: { ...process.env, LD_PRELOAD: gate(), GATE: '0' },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    cleanup(t, async () => void child.kill('SIGKILL'))
    const lines: string[] = []
    for await (const line of createInterface(child.stdout)) {
      lines.push(line)
      if (line === 'late') child.stdin.end()
    }
    const piece = { number: 0, offset: 0, length: MiB }
    // Asked once: nothing was given up.
    assert.deepEqual(lines, ['late', `1 ${digestOf(new Content(MiB), piece)}`])
  })
}

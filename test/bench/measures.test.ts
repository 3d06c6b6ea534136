import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { crc32 } from 'node:zlib'
import { interleaved } from '../../bench/interleaved.ts'
import { Meter } from '../../bench/meter.ts'
import { ran, Served, type Transferred } from '../../bench/reference.ts'
import { Turns } from '../../bench/turns.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { tempFolder } from '../support/temp-folder.ts'

const length = 9 * 2 ** 20 + 12_345

function source(t: TestContext): { readonly path: string; readonly bytes: Uint8Array } {
  const path = join(tempFolder(t), 'source')
  const bytes = new Content(length).bytes()
  writeFileSync(path, bytes)
  return { path, bytes }
}

test('interleaved() takes turns, begins each round with the next side, and does not count the first', async () => {
  const turns: string[] = []
  const side = (name: string) => async () => {
    turns.push(name)
    return { bytes: turns.length, seconds: 1, cpuSeconds: 1 }
  }
  const settings = { quick: true, runs: 2, folder: '', say: () => undefined }
  const found = await interleaved(settings, { ours: side('a'), theirs: side('b'), none: undefined })
  assert.deepEqual(turns, ['a', 'b', 'b', 'a', 'a', 'b'])
  const bytes = Object.values(found).map((samples) => samples.map((sample) => sample.bytes))
  assert.deepEqual(bytes, [[4, 5], [3, 6], []])
})

test('transfer.c computes the CRC-32 of zlib', async (t: TestContext) => {
  const { path, bytes } = source(t)
  for (const end of [0, 1, 63, 64, 65, 127, 128, 4095, bytes.length]) {
    const part = bytes.subarray(0, end)
    writeFileSync(path, part)
    const said = await ran<{ readonly crc32: number }>('transfer', [path, 'crc32'])
    assert.equal(said.crc32, crc32(part), `${end} bytes`)
  }
})

test('transfer.c moves all bytes, from one parent or three', async (t: TestContext) => {
  const { path, bytes } = source(t)
  const target = `${path}-copy`
  for (const parents of ['1', '3']) {
    const said = await ran<Transferred>('transfer', [path, 'to-file', target, '--parents', parents])
    assert.equal(said.bytes, length)
    assert.ok(said.seconds > 0 && said.cpuSeconds > 0 && said.childPeakBytes > 0)
    assert.ok(readFileSync(target).equals(bytes))
  }
})

test('origin.c serves the whole and parts, counts, and is read by its client', async (t: TestContext) => {
  const { path, bytes } = source(t)
  const origin = await Served.start('origin', [path])
  cleanup(t, () => origin[Symbol.asyncDispose]())
  const url = `http://127.0.0.1:${origin.port}/content`
  const part = await fetch(url, { headers: { range: 'bytes=5-9' } })
  assert.equal(part.status, 206)
  assert.equal(part.headers.get('content-range'), `bytes 5-9/${length}`)
  assert.ok(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(5, 10)))
  const args = ['get', String(origin.port), `${path}-copy`]
  const said = await ran<{ readonly crc32: number }>('origin', args)
  assert.equal(said.crc32, crc32(bytes))
  assert.ok(readFileSync(`${path}-copy`).equals(bytes))
  const counted = await fetch(`http://127.0.0.1:${origin.port}/counted`)
  assert.equal(await counted.text(), String(length + 5))
})

test('Meter reads processor time and peaks of another process', async (t: TestContext) => {
  const script = `
    const until = performance.now() + 300
    while (performance.now() < until);
    const bytes = Buffer.alloc(2 ** 26, 1)
    console.log(bytes.length)
    setInterval(() => undefined, 1000)`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  cleanup(t, async () => {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  })
  await once(child.stdout, 'data')
  const meter = new Meter([child.pid ?? -1])
  assert.ok(meter.cpuSeconds() > 0.05 && meter.cpuSeconds() < 30, String(meter.cpuSeconds()))
  assert.ok(meter.peakBytes() > 2 ** 26, String(meter.peakBytes()))
  meter.resetPeaks()
  assert.ok(meter.peakBytes() > 2 ** 26, 'It is resident still')
})

test('Turns finds the longest turn', async () => {
  const turns = new Turns()
  await new Promise((resolve) => setImmediate(resolve))
  const { user: before } = process.cpuUsage()
  // What this thread computed: on a busy machine the clock on the wall runs further.
  while (process.cpuUsage().user - before < 60_000);
  await new Promise((resolve) => setImmediate(resolve))
  const longestMs = turns.end()
  assert.ok(longestMs >= 40, `${longestMs}`)
})

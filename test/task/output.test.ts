import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { output, outputPartBytesMax } from '../../src/task/output.ts'
import { geometry, type Range } from '../../src/task/piece.ts'
import type { Share } from '../../src/task/share.ts'
import { contentOf, spec } from '../sim/content.ts'
import { parents, SimAnnouncer } from '../sim/scheduler.ts'
import { SimSink } from '../sim/sink.ts'
import { outcomeOf, SimWorld } from '../sim/world.ts'

const idle = new AbortController().signal

function read(
  sink: SimSink,
  more: { readonly share?: Pick<Share, 'wait' | 'urge'>; readonly range?: Range } = {},
  signal: AbortSignal = idle,
): AsyncGenerator<Uint8Array, void, undefined> {
  const request = { shelf: sink, taskId: spec.id, kind: spec.kind, cut: sink.geometry, ...more }
  return output(request, signal)
}

async function all(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const chunk of chunks) parts.push(chunk)
  return new Uint8Array(Buffer.concat(parts))
}

test('output() gives the whole content in order', async () => {
  const sink = new SimSink(geometry(57, 10)).preset([0, 1, 2, 3, 4, 5])
  assert.deepEqual(await all(read(sink)), contentOf(0, 57))
  assert.equal(sink.reading, 0)
})

for (const [start, length] of [
  [0, 57],
  [0, 1],
  [9, 2],
  [10, 10],
  [13, 31],
  [56, 1],
  [50, 500],
] as const) {
  test(`output() cuts to the range ${start}+${length}`, async () => {
    const sink = new SimSink(geometry(57, 10)).preset([0, 1, 2, 3, 4, 5])
    const expected = contentOf(start, Math.min(length, 57 - start))
    assert.deepEqual(await all(read(sink, { range: { start, length } })), expected)
  })
}

test('output() throws for a range that is not in the content', async () => {
  const sink = new SimSink(geometry(57, 10)).preset([0, 1, 2, 3, 4, 5])
  await assert.rejects(all(read(sink, { range: { start: 57, length: 1 } })), RangeError)
  await assert.rejects(all(read(sink, { range: { start: 0, length: 0 } })), RangeError)
})

test('output() of nothing gives nothing', async () => {
  assert.equal((await all(read(new SimSink(geometry(0, 10))))).length, 0)
})

test('output() reads pieces on disk in parts, each in memory of its own', async () => {
  const length = outputPartBytesMax * 2 + 5
  const sink = new SimSink(geometry(length, length))
  sink.preset([0])
  const chunks: Uint8Array[] = []
  for await (const chunk of read(sink)) chunks.push(chunk)
  assert.deepEqual(
    chunks.map((chunk) => chunk.length),
    [outputPartBytesMax, outputPartBytesMax, 5],
  )
  assert.equal(new Set(chunks.map(({ buffer }) => buffer)).size, 3)
  assert.deepEqual(new Uint8Array(Buffer.concat(chunks)), sink.bytes)
})

test('output() gives pieces in memory as views, without a copy', async () => {
  const sink = new SimSink(geometry(57, 10)).preset([0, 1, 2, 3, 4, 5])
  const open = sink.open.bind(sink)
  sink.open = async (request) => {
    const piece = await open(request)
    const { offset, length } = piece.piece
    return { ...piece, memory: sink.bytes.subarray(offset, offset + length) }
  }
  const chunks: Uint8Array[] = []
  for await (const chunk of read(sink, { range: { start: 5, length: 20 } })) chunks.push(chunk)
  assert.ok(chunks.every(({ buffer }) => buffer === sink.bytes.buffer))
  assert.deepEqual(
    chunks.map(({ byteOffset, length }) => [byteOffset, length]),
    [
      [5, 5],
      [10, 10],
      [20, 5],
    ],
  )
})

test('output() waits for each piece, urges the next few, and reads nothing ahead', async () => {
  const sink = new SimSink(geometry(57, 10)).preset([0, 1, 2, 3, 4, 5])
  const calls: string[] = []
  const share = {
    urge: (numbers: readonly number[]) => void calls.push(`urge ${numbers.join()}`),
    wait: async (number: number) => void calls.push(`wait ${number}`),
  }
  const chunks = read(sink, { share, range: { start: 10, length: 47 } })
  assert.deepEqual(calls, [])
  await chunks.next()
  assert.deepEqual(calls, ['urge 1,2,3,4', 'wait 1'])
  assert.equal(sink.reading, 1)
  await chunks.next()
  assert.deepEqual(calls.slice(2), ['urge 2,3,4,5', 'wait 2'])
  await chunks.return()
  assert.equal(sink.reading, 0)
})

test('output() delivers in order while pieces come in any order, and a slow consumer holds nobody up', async () => {
  const world = new SimWorld(40)
  const a = world.parents.add('a', world.all, { delayMs: 3, sendMs: 7 })
  const b = world.parents.add('b', world.all, { delayMs: 30, sendMs: 7 })
  const run = world.run(new SimAnnouncer([parents(a, b)]))
  const share = run.join()
  const chunks = read(world.sink, { share })
  const first = chunks.next()
  const seen = outcomeOf(first)
  await world.clock.until(() => seen.settled)
  // The first piece was wanted first, and the rest comes although nobody reads on.
  assert.ok(world.sink.keptCount < 20, `${world.sink.keptCount}`)
  await world.clock.until(() => !run.open)
  assert.equal(world.sink.keptCount, 40)
  const rest = await all(chunks)
  const whole = Buffer.concat([(await first).value ?? new Uint8Array(), rest])
  assert.deepEqual(new Uint8Array(whole), contentOf(0, world.cut.contentLength))
})

test('output() rejects with what ended the run, and closes what is open', async () => {
  const world = new SimWorld(4)
  const a = world.parents.add('a', [0], { feed: 'open' })
  const run = world.run(new SimAnnouncer([parents(a)]))
  const share = run.join()
  const chunks = read(world.sink, { share })
  const first = chunks.next()
  await world.clock.pass(100)
  assert.equal((await first).value?.length, 10)
  const second = chunks.next()
  const seen = outcomeOf(second)
  await world.clock.settle()
  run.cancel('stop')
  await run.ended
  assert.equal(seen.error, 'stop')
  assert.equal(world.sink.reading, 0)
})

test('output() rejects with the reason of its signal while it waits', async () => {
  const world = new SimWorld(4)
  const run = world.run(new SimAnnouncer([]))
  const share = run.join()
  const life = new AbortController()
  const seen = outcomeOf(all(read(world.sink, { share }, life.signal)))
  await world.clock.settle()
  life.abort('mine')
  await world.clock.settle()
  assert.equal(seen.error, 'mine')
  assert.equal(run.open, true)
  run.cancel('end')
})

test('output() does not loop on a store that gives nothing', async () => {
  const sink = new SimSink(geometry(57, 10)).preset([0, 1, 2, 3, 4, 5])
  const open = sink.open.bind(sink)
  sink.open = async (request) => ({ ...(await open(request)), read: async () => 0 })
  await assert.rejects(all(read(sink)), (error) => PeerError.is(error, 'STORE_FAILED'))
  assert.equal(sink.reading, 0)
})

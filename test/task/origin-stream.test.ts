import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { readInOrder } from '../../src/task/origin-stream.ts'
import type { SinkFaults } from '../sim/sink.ts'
import { outcomeOf, SimWorld } from '../sim/world.ts'

class Bench extends SimWorld {
  readonly life: AbortController = new AbortController()
  readonly events: string[] = []
  wanted: Set<number>
  last = 5

  constructor(wanted: readonly number[], faults: SinkFaults = {}) {
    super(6, faults)
    this.wanted = new Set(wanted)
  }

  read(): ReturnType<typeof outcomeOf<void>> {
    const access = { origin: this.origin, shownUrl: 'https://origin.example/m', validator: 'v1' }
    const { sink, clock } = this
    return outcomeOf(
      readInOrder(
        { access, sink, clock, pieceTimeoutMs: 60_000 },
        {
          wants: (number) => number <= this.last,
          claim: (number) => this.wanted.delete(number),
          onBytes: () => undefined,
          onKept: ({ number }) => this.events.push(`kept ${number}`),
          onFailed: ({ number }) => this.events.push(`failed ${number}`),
        },
        this.life.signal,
      ),
    )
  }
}

function codeOf(seen: { readonly error?: unknown }): string {
  return PeerError.is(seen.error) ? seen.error.code : String(seen.error)
}

for (const chunkBytes of [1, 3, 7, 10, 25, 57, 64]) {
  test(`readInOrder() stores all pieces from chunks of ${chunkBytes} bytes`, async () => {
    const bench = new Bench([0, 1, 2, 3, 4, 5])
    bench.origin.manners.chunkBytes = chunkBytes
    const seen = bench.read()
    await bench.clock.until(() => seen.settled)
    assert.equal(seen.error, undefined)
    assert.equal(bench.sink.keptCount, 6)
    assert.deepEqual(bench.events.at(-1), 'kept 5')
    bench.checkContent()
    bench.checkNothingOpen()
  })
}

test('readInOrder() passes over what is not claimed, and stops when nothing further is wanted', async () => {
  const bench = new Bench([1, 3])
  bench.last = 3
  const seen = bench.read()
  await bench.clock.until(() => seen.settled)
  assert.equal(seen.error, undefined)
  assert.deepEqual(bench.events, ['kept 1', 'kept 3'])
  assert.ok(bench.origin.sent < 50)
  assert.equal(bench.sink.slotsSeen, 1)
  assert.deepEqual(bench.origin.reads[0]?.offset, 0)
  assert.equal(bench.origin.reads[0]?.length, undefined)
  assert.equal(bench.origin.reads[0]?.validator, 'v1')
  bench.checkContent()
  bench.checkNothingOpen()
})

for (const [length, kept] of [
  [56, 5],
  [58, 5],
  [60, 5],
  [23, 2],
] as const) {
  test(`readInOrder() notices content of ${length} bytes instead of 57, before the last piece is kept`, async () => {
    const bench = new Bench([0, 1, 2, 3, 4, 5])
    bench.origin.manners.length = length
    const seen = bench.read()
    await bench.clock.until(() => seen.settled)
    assert.equal(codeOf(seen), 'ORIGIN_PROTOCOL')
    assert.equal(bench.sink.keptCount, kept)
    assert.equal(bench.events.at(-1), `failed ${kept}`)
    bench.checkContent()
    bench.checkNothingOpen()
  })
}

test('readInOrder() gives an origin up that falls silent', async () => {
  const bench = new Bench([0, 1, 2])
  bench.origin.manners.silentAfter = 14
  const seen = bench.read()
  await bench.clock.until(() => seen.settled)
  assert.equal(codeOf(seen), 'ORIGIN_UNREACHABLE')
  assert.deepEqual(bench.events, ['kept 0', 'failed 1'])
  bench.checkNothingOpen()
})

test('readInOrder() does not blame the origin while our own disk is behind', async () => {
  const { signal } = new AbortController()
  const drain = (): Promise<void> => bench.clock.sleep(100_000, signal)
  const bench: Bench = new Bench([0, 1], { drainEvery: 5, drain })
  const seen = bench.read()
  await bench.clock.until(() => seen.settled)
  assert.equal(seen.error, undefined)
  assert.equal(bench.sink.keptCount, 2)
  bench.checkContent()
})

test('readInOrder() passes on the failure of our own disk', async () => {
  const full = new PeerError('NO_SPACE', 'Full', { path: '/x', needed: 1 })
  const bench = new Bench([0, 1], { commitError: () => full })
  const seen = bench.read()
  await bench.clock.until(() => seen.settled)
  assert.equal(seen.error, full)
  assert.deepEqual(bench.events, ['failed 0'])
  bench.checkNothingOpen()
})

test('readInOrder() lets go of everything when it is aborted, in the middle of a piece or waiting for a slot', async () => {
  for (const slotsMax of [1, 0]) {
    const bench = new Bench([0, 1, 2], { slotsMax })
    const seen = bench.read()
    await bench.clock.pass(16)
    bench.life.abort('gone')
    await bench.clock.settle()
    assert.equal(seen.error, 'gone')
    assert.equal(bench.events.at(-1)?.startsWith('failed'), true)
    bench.checkNothingOpen()
  }
})

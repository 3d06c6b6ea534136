import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import {
  Fetcher,
  type FetcherEvents,
  type FetcherLimits,
  type Outcome,
} from '../../src/task/fetcher.ts'
import { pieceAt } from '../../src/task/piece.ts'
import { originId } from '../../src/task/plan.ts'
import { contentOf, digestOf, spec } from '../sim/content.ts'
import type { SinkFaults } from '../sim/sink.ts'
import { SimWorld } from '../sim/world.ts'

const limits = { concurrency: 4, patienceMs: 1500, pieceTimeoutMs: 60_000 }

/** A fetcher whose outcomes are written down. */
class Bench extends SimWorld {
  readonly outcomes: Outcome[] = []
  readonly others: Set<string> = new Set()
  /** Pieces that are better asked of somebody else. */
  readonly better: Set<number> = new Set()
  /** Whom else to ask for a slow piece. */
  second: FetcherEvents['hedge'] | undefined
  readonly hedged: string[] = []
  resort = false
  readonly fetcher: Fetcher
  bytes = 0

  constructor(faults: SinkFaults = {}, bounds: FetcherLimits = limits) {
    super(6, faults)
    const access = { origin: this.origin, shownUrl: 'https://origin.example/m', validator: 'v1' }
    const { sink, parents, clock } = this
    this.fetcher = new Fetcher({ spec, sink, reader: parents, access, clock }, bounds, {
      hasOther: (number, parent) => this.others.has(`${number} ${parent}`),
      hasResort: () => this.resort,
      moves: (queued) => [...this.better].filter(queued),
      hedge: (slow) => this.second?.(slow),
      onHedged: (number, won) => this.hedged.push(`${number} ${won}`),
      onBytes: () => this.bytes++,
      admit: () => Promise.resolve(),
      onOutcome: (outcome) => this.outcomes.push(outcome),
    })
  }

  fetch(number: number, parent: string): void {
    const piece = pieceAt(this.cut, number)
    const endpoint = { ip: '127.0.0.1', tcpPort: 4001 }
    const from =
      parent === originId ? undefined : { parent: this.parents.get(parent).parent, endpoint }
    this.fetcher.fetch({ piece, parent }, from)
  }

  /** Outcomes as short words. */
  get words(): string[] {
    return this.outcomes.map((outcome) => {
      const code =
        outcome.is === 'failed'
          ? ` ${PeerError.is(outcome.error) ? outcome.error.code : String(outcome.error)}`
          : ''
      return `${outcome.is} ${outcome.piece.number}${code}`
    })
  }
}

test('Fetcher.fetch() reads, checks and commits a piece', async () => {
  const bench = new Bench()
  bench.parents.add('a', bench.all, { delayMs: 100, sendMs: 400 })
  bench.fetch(5, 'a')
  assert.equal(bench.fetcher.free, 3)
  await bench.clock.pass(1000)
  assert.deepEqual(bench.outcomes, [
    {
      is: 'kept',
      piece: { number: 5, offset: 50, length: 7 },
      parent: 'a',
      digest: digestOf(bench.cut, 5),
      costMs: 500,
    },
  ])
  assert.equal(bench.fetcher.free, 4)
  assert.equal(bench.sink.parentOf(5), 'a')
  assert.ok(bench.bytes >= 2)
  bench.checkContent()
  bench.checkNothingOpen()
})

const readings = [
  ['well', 'kept 0'],
  ['undigested', 'kept 0'],
  ['wrong', 'failed 0 DIGEST_MISMATCH'],
  ['short', 'failed 0 PARENT_PROTOCOL'],
  ['unreachable', 'failed 0 PARENT_UNREACHABLE'],
  ['refused', 'failed 0 PARENT_REFUSED'],
] as const
for (const [reads, expected] of readings) {
  test(`Fetcher.fetch() from a parent that reads ${reads}: ${expected}`, async () => {
    const bench = new Bench()
    bench.parents.add('a', bench.all, { reads })
    bench.fetch(0, 'a')
    await bench.clock.pass(100)
    assert.deepEqual(bench.words, [expected])
    assert.equal(bench.sink.has(0), expected === 'kept 0')
    bench.checkNothingOpen()
  })
}

test('Fetcher.fetch() names piece, parent and both digests when they differ', async () => {
  const bench = new Bench()
  bench.parents.add('a', bench.all, { reads: 'wrong' })
  bench.fetch(2, 'a')
  await bench.clock.pass(100)
  const [outcome] = bench.outcomes
  assert.ok(outcome?.is === 'failed' && PeerError.is(outcome.error, 'DIGEST_MISMATCH'))
  const { details } = outcome.error
  assert.equal(details.expected, digestOf(bench.cut, 2))
  assert.notEqual(details.actual, details.expected)
  assert.deepEqual([details.task, details.piece, details.parent], [spec.id, 2, 'a'])
})

for (const reads of ['silent', 'stuck'] as const) {
  test(`Fetcher leaves a ${reads} parent after its patience when there is somebody else`, async () => {
    const bench = new Bench()
    bench.parents.add('a', bench.all, { reads, delayMs: 10 })
    bench.others.add('0 a')
    bench.fetch(0, 'a')
    const quietFrom = reads === 'stuck' ? 10 : 0
    await bench.clock.pass(quietFrom + 1499)
    assert.deepEqual(bench.words, [])
    await bench.clock.pass(1)
    assert.deepEqual(bench.words, ['failed 0 PARENT_TIMEOUT'])
    bench.checkNothingOpen()
  })
}

test('Fetcher waits for a silent parent up to the piece time-out when there is nobody else', async () => {
  const bench = new Bench()
  bench.parents.add('a', bench.all, { reads: 'silent' })
  bench.fetch(0, 'a')
  await bench.clock.pass(59_999)
  assert.deepEqual(bench.words, [])
  await bench.clock.pass(1)
  assert.deepEqual(bench.words, ['failed 0 PARENT_TIMEOUT'])
  bench.checkNothingOpen()
})

test('Fetcher.recheck() lets a piece go that is better asked of somebody else, once it has waited, and before a byte of it came', async () => {
  const bench = new Bench()
  bench.parents.add('a', bench.all, { delayMs: 200, sendMs: 400 })
  for (const number of [0, 1]) bench.fetch(number, 'a')
  bench.better.add(0)
  await bench.clock.pass(40)
  bench.fetcher.recheck()
  await bench.clock.settle()
  assert.deepEqual(bench.words, [])
  await bench.clock.pass(20)
  bench.fetcher.recheck()
  await bench.clock.settle()
  assert.deepEqual(bench.words, ['dropped 0'])
  await bench.clock.pass(200)
  bench.better.add(1)
  bench.fetcher.recheck()
  await bench.clock.pass(1000)
  assert.deepEqual(bench.words, ['dropped 0', 'kept 1'])
  bench.checkNothingOpen()
})

test('Fetcher.recheck() leaves a silent parent at once when somebody else appears', async () => {
  const bench = new Bench()
  bench.parents.add('a', bench.all, { reads: 'silent' })
  bench.fetch(0, 'a')
  await bench.clock.pass(1000)
  bench.others.add('0 a')
  bench.fetcher.recheck()
  await bench.clock.settle()
  assert.deepEqual(bench.words, [])
  bench.others.delete('0 a')
  await bench.clock.pass(4000)
  bench.fetcher.recheck()
  await bench.clock.settle()
  assert.deepEqual(bench.words, [])
  bench.others.add('0 a')
  bench.fetcher.recheck()
  await bench.clock.settle()
  assert.deepEqual(bench.words, ['failed 0 PARENT_TIMEOUT'])
})

test('Fetcher doubles the patience with a piece each time it is taken from somebody, up to the piece time-out', async () => {
  const bench = new Bench()
  bench.parents.add('a', bench.all, { reads: 'silent' })
  bench.others.add('0 a')
  bench.others.add('1 a')
  const waits: number[] = []
  for (let count = 0; count < 8; count++) {
    const from = bench.clock.now()
    bench.fetch(0, 'a')
    await bench.clock.until(() => bench.outcomes.length > count)
    waits.push(bench.clock.now() - from)
  }
  assert.deepEqual(waits, [1500, 3000, 6000, 12_000, 24_000, 48_000, 60_000, 60_000])
  // Other pieces are not concerned, and a kept piece is forgotten.
  const from = bench.clock.now()
  bench.fetch(1, 'a')
  await bench.clock.until(() => bench.outcomes.length > 8)
  assert.equal(bench.clock.now() - from, 1500)
})

test('Fetcher leaves a trickle for somebody else, but later each time, and not when half has come', async () => {
  const bench = new Bench({}, { ...limits, pieceTimeoutMs: 5000 })
  bench.parents.add('a', bench.all)
  bench.others.add('0 a')
  bench.parents.read = async (_from, { piece }, slot, signal) => {
    for (let at = 0; at < piece.length; at++) {
      await bench.clock.sleep(1400, signal)
      slot.space()?.set(contentOf(piece.offset + at, 1))
      slot.fill(1)
    }
    return { digest: '' }
  }
  bench.fetch(0, 'a')
  await bench.clock.until(() => bench.outcomes.length > 0)
  assert.deepEqual(bench.words, ['failed 0 PARENT_TIMEOUT'])
  assert.ok(bench.clock.now() >= 5000 && bench.clock.now() < 7000)
  // The second time it may take 10 s; seven of ten bytes are here then.
  bench.fetch(0, 'a')
  await bench.clock.until(() => bench.outcomes.length > 1)
  assert.deepEqual(bench.words.slice(1), ['kept 0'])
})

for (const resort of [true, false]) {
  test(`Fetcher ends a trickle that nobody else can stand in for if the origin may be opened: ${resort}`, async () => {
    const bench = new Bench({}, { ...limits, pieceTimeoutMs: 5000 })
    bench.parents.add('a', bench.all)
    bench.resort = resort
    bench.parents.read = async (_from, { piece }, slot, signal) => {
      for (let at = 0; at < piece.length; at++) {
        await bench.clock.sleep(1400, signal)
        slot.space()?.set(contentOf(piece.offset + at, 1))
        slot.fill(1)
      }
      return { digest: '' }
    }
    bench.fetch(0, 'a')
    await bench.clock.until(() => bench.outcomes.length > 0)
    assert.deepEqual(bench.words, [resort ? 'failed 0 PARENT_TIMEOUT' : 'kept 0'])
  })
}

test('Fetcher is more patient when pieces use to come late', async () => {
  const bench = new Bench()
  const a = bench.parents.add('a', bench.all, { delayMs: 1400 })
  for (const number of [0, 1, 2]) bench.fetch(number, 'a')
  await bench.clock.pass(3000)
  a.manners.reads = 'silent'
  bench.others.add('3 a')
  bench.fetch(3, 'a')
  await bench.clock.pass(2799)
  assert.equal(bench.outcomes.length, 3)
  await bench.clock.pass(1)
  assert.equal(bench.words.at(-1), 'failed 3 PARENT_TIMEOUT')
})

test('Fetcher does not blame a parent while our own disk is behind', async () => {
  const { signal } = new AbortController()
  const drain = (): Promise<void> => bench.clock.sleep(5000, signal)
  const bench: Bench = new Bench({ drainEvery: 2, drain })
  bench.parents.add('a', bench.all)
  bench.others.add('0 a')
  bench.fetch(0, 'a')
  await bench.clock.pass(120_000)
  assert.deepEqual(bench.words, ['kept 0'])
  bench.checkContent()
})

test('Fetcher passes on the failure of our own disk, whatever the reader made of it', async () => {
  const full = new PeerError('NO_SPACE', 'Full', { path: '/x', needed: 1 })
  const drain = async (): Promise<void> => {
    throw full
  }
  const bench = new Bench({ drainEvery: 2, drain })
  bench.parents.add('a', bench.all)
  bench.fetch(0, 'a')
  await bench.clock.pass(100)
  const [outcome] = bench.outcomes
  assert.ok(outcome?.is === 'failed')
  assert.equal(outcome.error, full)
  bench.checkNothingOpen()
})

test('Fetcher waits for a slot without counting that against the parent', async () => {
  const bench = new Bench({ slotsMax: 1 })
  bench.parents.add('a', bench.all, { sendMs: 10 })
  bench.parents.add('slow', bench.all, { delayMs: 1400, sendMs: 1400 })
  for (const number of bench.all) bench.others.add(`${number} a`)
  bench.fetch(0, 'slow')
  bench.fetch(1, 'slow')
  bench.fetch(2, 'a')
  await bench.clock.pass(10_000)
  assert.deepEqual(bench.words, ['kept 0', 'kept 1', 'kept 2'])
  assert.equal(bench.sink.slotsSeen, 1)
})

test('Fetcher.drop() and dropParent() stop jobs, and nobody is to blame', async () => {
  const bench = new Bench()
  bench.parents.add('a', bench.all, { reads: 'silent' })
  bench.parents.add('b', bench.all, { reads: 'stuck' })
  bench.fetch(0, 'a')
  bench.fetch(1, 'b')
  bench.fetch(2, 'b')
  await bench.clock.pass(50)
  bench.fetcher.drop(0)
  bench.fetcher.drop(5)
  await bench.clock.settle()
  assert.deepEqual(bench.words, ['dropped 0'])
  bench.fetcher.dropParent('b')
  await bench.clock.settle()
  assert.deepEqual(bench.words, ['dropped 0', 'dropped 1', 'dropped 2'])
  bench.checkNothingOpen()
})

test('Fetcher.close() stops jobs that run and jobs that wait for a slot, and resolves when all slots are back', async () => {
  const bench = new Bench({ slotsMax: 1 })
  bench.parents.add('a', bench.all, { reads: 'stuck' })
  for (const number of [0, 1, 2]) bench.fetch(number, 'a')
  await bench.clock.pass(50)
  assert.equal(bench.sink.openSlots, 3)
  await bench.fetcher.close()
  assert.deepEqual(bench.words.sort(), ['dropped 0', 'dropped 1', 'dropped 2'])
  bench.checkNothingOpen()
  await bench.fetcher.close()
})

test('Fetcher reads a piece from the origin by its range, with the validator', async () => {
  const bench = new Bench()
  bench.fetch(5, originId)
  await bench.clock.pass(100)
  assert.deepEqual(bench.words, ['kept 5'])
  assert.equal(bench.sink.parentOf(5), '')
  const [read] = bench.origin.reads
  assert.deepEqual([read?.offset, read?.length, read?.validator], [50, 7, 'v1'])
  bench.checkContent()
  bench.checkNothingOpen()
})

test('Fetcher does not take fewer bytes from the origin than the piece has', async () => {
  const bench = new Bench()
  bench.origin.manners.length = 55
  bench.fetch(5, originId)
  await bench.clock.pass(100)
  const [outcome] = bench.outcomes
  assert.ok(outcome?.is === 'failed' && PeerError.is(outcome.error, 'ORIGIN_PROTOCOL'))
  assert.equal(outcome.error.details.url, 'https://origin.example/m')
  assert.deepEqual(
    [outcome.error.details.expected, outcome.error.details.actual],
    ['7 bytes', '5 bytes'],
  )
  bench.checkNothingOpen()
})

test('Fetcher does not take more bytes from the origin than the piece has', async () => {
  const bench = new Bench()
  const read = bench.origin.read.bind(bench.origin)
  bench.origin.read = (part, signal) => read({ ...part, length: (part.length ?? 0) + 1 }, signal)
  bench.fetch(0, originId)
  await bench.clock.pass(100)
  assert.deepEqual(bench.words, ['failed 0 ORIGIN_PROTOCOL'])
  bench.checkNothingOpen()
})

test('Fetcher says of a silent origin that it cannot be reached', async () => {
  const bench = new Bench()
  bench.origin.manners.silentAfter = 3
  bench.origin.manners.chunkBytes = 3
  bench.fetch(0, originId)
  await bench.clock.pass(61_000)
  assert.deepEqual(bench.words, ['failed 0 ORIGIN_UNREACHABLE'])
  bench.checkNothingOpen()
})

test('Fetcher copies what the origin sends before it asks for more', async () => {
  // The simulated origin sends all chunks in one buffer, and clears it at the end.
  const bench = new Bench({ drainEvery: 3, drain: async () => undefined })
  bench.origin.manners.chunkBytes = 4
  for (const number of [0, 1]) bench.fetch(number, originId)
  await bench.clock.pass(1000)
  assert.deepEqual(bench.sink.bytes.subarray(0, 20), contentOf(0, 20))
})

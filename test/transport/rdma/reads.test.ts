import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Reads } from '../../../src/transport/rdma/reads.ts'
import type { NativeQueuePair, NativeRdma } from '../../../src/transport/rdma/native.ts'
import { Standing } from '../../../src/transport/rdma/standing.ts'
import { type Deferred, deferred } from '../../../src/util/deferred.ts'
import { ManualClock } from '../manual-clock.ts'
import { never } from '../pair.ts'
import { turns } from '../until.ts'

const MiB = 1024 * 1024

interface Bench {
  readonly clock: ManualClock
  readonly reads: Reads
  /** READs on their way, with what names them. */
  readonly posted: { readonly name: number; readonly done: Deferred<void> }[]
  readonly broken: string[]
  /** Takes turns for a piece and reads its parts. */
  piece(name: number, parts: number, byteLength?: number): Promise<void>
}

function bench(readsMax: number): Bench {
  const posted: Bench['posted'] = []
  const broken: string[] = []
  const clock = new ManualClock()
  const native = {
    read: (_pair: unknown, _into: unknown, from: { readonly key: number }) => {
      const done = deferred<void>()
      posted.push({ name: from.key, done })
      return done.promise
    },
  } as unknown as NativeRdma
  const reads = new Reads({
    native,
    queuePair: {} as NativeQueuePair,
    readsMax,
    stallTimeoutMs: 1000,
    clock,
    onBroken: (reason) => broken.push(reason),
  })
  const piece = async (name: number, parts: number, byteLength = MiB): Promise<void> => {
    const all: Promise<void>[] = []
    for (let part = 0; part < parts; part++) {
      await reads.turn(byteLength, never)
      const into = { registration: {} as never, offset: 0, byteLength }
      all.push(reads.read(into, { address: 1n, key: name }))
    }
    await Promise.all(all)
  }
  return { clock, reads, posted, broken, piece }
}

describe('Reads', () => {
  it('shares its turns between pieces', async () => {
    const { posted, piece } = bench(4)
    const done = Promise.all([piece(1, 8), piece(2, 8), piece(3, 8)])
    const order: number[] = []
    for (let at = 0; at < 24; at++) {
      await turns(2)
      assert.ok(posted.length <= 4)
      const first = posted.shift()
      order.push(first?.name ?? 0)
      first?.done.resolve()
    }
    await done
    // After the first window, which the first piece alone had asked for, each has its turn.
    for (let at = 6; at + 3 <= 18; at += 3) {
      assert.deepEqual(order.slice(at, at + 3).toSorted(), [1, 2, 3], order.join(' '))
    }
  })

  it('has no more bytes on their way than the window holds, but always one', async () => {
    const { posted, piece } = bench(16)
    const done = piece(1, 20, 4 * MiB)
    await turns()
    assert.equal(posted.length, 8)
    while (posted.length > 0) {
      posted.shift()?.done.resolve()
      await turns(2)
    }
    await done
    const huge = piece(2, 1, 100 * MiB)
    await turns()
    assert.equal(posted.length, 1)
    posted[0]?.done.resolve()
    await huge
  })

  it('breaks when no read ends for the stall time, and only then', async () => {
    const { clock, posted, broken, piece } = bench(2)
    const done = assert.rejects(piece(1, 3))
    await turns()
    clock.advance(900)
    posted.shift()?.done.resolve()
    await turns()
    clock.advance(999)
    await turns()
    assert.deepEqual(broken, [])
    clock.advance(1)
    await turns()
    assert.deepEqual(broken, ['No read ended within 1000 ms'])
    for (const { done: end } of posted) end.reject(new Error('flushed'))
    await done
    assert.equal(broken.length, 1, 'it is told once')
  })

  it('does not take the time in which nothing was on its way for a stall', async () => {
    const { clock, posted, broken, piece } = bench(2)
    const first = piece(1, 1)
    await turns()
    posted.shift()?.done.resolve()
    await first
    clock.advance(950)
    const second = piece(2, 1)
    await turns()
    clock.advance(960)
    await turns()
    assert.deepEqual(broken, [])
    posted.shift()?.done.resolve()
    await second
    clock.advance(5000)
    await turns()
    assert.equal(clock.pending, 0, 'no timer is left')
    assert.deepEqual(broken, [])
  })

  it('gives the place of one who went away to the next', async () => {
    const { reads } = bench(1)
    await reads.turn(1, never)
    const abort = new AbortController()
    const gone = assert.rejects(reads.turn(1, abort.signal), (error) => error === 'gone')
    const next = reads.turn(1, never)
    abort.abort('gone')
    await gone
    reads.skip(1)
    await next
    assert.equal(reads.count, 1)
  })
})

describe('Standing', () => {
  it('doubles the time up to five minutes, counts what fails together once, and forgives all', () => {
    const clock = new ManualClock()
    const standing = new Standing(clock)
    for (const ms of [
      1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000,
    ]) {
      assert.equal(standing.isOpen('a'), true)
      standing.onFailed('a', 'why')
      standing.onFailed('a', 'why')
      clock.advance(ms - 1)
      assert.equal(standing.isOpen('a'), false)
      clock.advance(1)
    }
    assert.equal(standing.isOpen('b'), true)
    standing.onWorks('a')
    standing.onFailed('a', 'again')
    clock.advance(1000)
    assert.equal(standing.isOpen('a'), true)
    standing.onWithout('a', 'never had it')
    clock.advance(3_599_999)
    assert.equal(standing.isOpen('a'), false)
    assert.match(JSON.stringify(standing.explain()), /never had it/)
  })

  it('remembers so many', () => {
    const standing = new Standing(new ManualClock())
    for (let at = 0; at < 5000; at++) standing.onFailed(`parent ${at}`, 'why')
    assert.equal(standing.explain().length, 4096)
    assert.equal(standing.isOpen('parent 0'), true)
    assert.equal(standing.isOpen('parent 4999'), false)
  })
})

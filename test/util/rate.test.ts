import assert from 'node:assert/strict'
import { setMaxListeners } from 'node:events'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { TokenBucket } from '../../src/util/rate.ts'
import { ManualClock } from '../transport/manual-clock.ts'
import { turns } from '../transport/until.ts'

const never = new AbortController().signal
setMaxListeners(0, never)

/** Takes in order; gives back the log of what went when. */
function takeAll(
  bucket: TokenBucket,
  clock: ManualClock,
  counts: readonly number[],
): { count: number; at: number }[] {
  const log: { count: number; at: number }[] = []
  for (const count of counts) {
    void bucket.take(count, never).then(() => log.push({ count, at: clock.now() }))
  }
  return log
}

describe('TokenBucket.take()', () => {
  it('lets everything through without a limit', async () => {
    const bucket = new TokenBucket({ bytesPerSecond: undefined, clock: new ManualClock() })
    for (let count = 0; count < 100; count++) await bucket.take(1e9, never)
    assert.equal(bucket.waiting, 0)
  })

  it('lets a burst through, and then the rate', async () => {
    const clock = new ManualClock()
    const bucket = new TokenBucket({ bytesPerSecond: 1000, clock, burstMs: 1000 })
    const log = takeAll(bucket, clock, [600, 400, 500, 500])
    await turns(2)
    assert.equal(log.length, 2)
    clock.advance(499)
    await turns(2)
    assert.equal(log.length, 2)
    clock.advance(1)
    await turns(2)
    assert.equal(log.length, 3)
    clock.advance(500)
    await turns(2)
    assert.deepEqual(
      log.map(({ at }) => at),
      [0, 0, 500, 1000],
    )
  })

  it('lets a take through that is larger than the bucket, and makes the next one pay', async () => {
    const clock = new ManualClock()
    const bucket = new TokenBucket({ bytesPerSecond: 1000, clock, burstMs: 100 })
    const log = takeAll(bucket, clock, [5000, 100])
    await turns(2)
    assert.equal(log.length, 1)
    clock.advance(4999)
    await turns(2)
    assert.equal(log.length, 1)
    clock.advance(1)
    await turns(2)
    assert.equal(log.length, 2)
  })

  it('is first come, first served: small ones do not overtake a large one', async () => {
    const clock = new ManualClock()
    const bucket = new TokenBucket({ bytesPerSecond: 1000, clock, burstMs: 1000 })
    await bucket.take(1000, never)
    const log = takeAll(bucket, clock, [1000, 1, 1, 1])
    clock.advance(999)
    await turns(2)
    assert.equal(log.length, 0)
    clock.advance(10)
    await turns(2)
    assert.deepEqual(
      log.map(({ count }) => count),
      [1000, 1, 1, 1],
    )
  })

  it('rejects with the reason, takes nothing then, and holds nobody up', async () => {
    const clock = new ManualClock()
    const bucket = new TokenBucket({ bytesPerSecond: 1000, clock, burstMs: 1000 })
    await bucket.take(1000, never)
    const abort = new AbortController()
    const large = bucket.take(1000, abort.signal)
    const small = bucket.take(10, never)
    abort.abort('gone')
    await assert.rejects(large, (error) => error === 'gone')
    clock.advance(10)
    await small
    assert.equal(clock.pending, 0)
    await assert.rejects(bucket.take(1, AbortSignal.abort('gone')), (error) => error === 'gone')
  })

  it('refuses what is no number of bytes', async () => {
    const bucket = new TokenBucket({ bytesPerSecond: 1, clock: new ManualClock() })
    for (const count of [-1, 0.5, Number.NaN]) {
      await assert.rejects(bucket.take(count, never), RangeError)
    }
  })

  it('never lets more through than burst and rate allow, and uses the whole rate', async () => {
    const rates = fc.integer({ min: 1000, max: 100_000_000 })
    const shares = fc.array(fc.double({ min: 0, max: 0.4, noNaN: true }), {
      minLength: 5,
      maxLength: 40,
    })
    await fc.assert(
      fc.asyncProperty(rates, shares, async (bytesPerSecond, parts) => {
        const clock = new ManualClock()
        const bucket = new TokenBucket({ bytesPerSecond, clock, burstMs: 100 })
        const counts = parts.map((part) => Math.floor(part * bytesPerSecond))
        const log = takeAll(bucket, clock, counts)
        do await turns(1)
        while (clock.step())
        await turns(1)
        assert.equal(log.length, counts.length)
        let sum = 0
        let before = 0
        for (const { count, at } of log) {
          // What went before this one is covered; this one may leave a debt.
          assert.ok(sum <= (at / 1000 + 0.1) * bytesPerSecond + 1, 'too fast')
          const due = ((sum + count) / bytesPerSecond) * 1000
          assert.ok(at <= Math.max(before, due) + 2 * counts.length, 'too slow')
          before = at
          sum += count
        }
      }),
      { numRuns: 100 },
    )
  })
})

describe('TokenBucket.setRate()', () => {
  it('holds at once for those who wait', async () => {
    const clock = new ManualClock()
    const bucket = new TokenBucket({ bytesPerSecond: 10, clock, burstMs: 1000 })
    await bucket.take(10, never)
    const log = takeAll(bucket, clock, [1000, 1000])
    bucket.setRate(1000)
    clock.advance(1000)
    await turns(2)
    assert.equal(log.length, 1)
    bucket.setRate(undefined)
    await turns(2)
    assert.equal(log.length, 2)
    assert.equal(clock.pending, 0)
    assert.equal(bucket.bytesPerSecond, undefined)
  })

  it('starts a limit where there was none', async () => {
    const clock = new ManualClock()
    const bucket = new TokenBucket({ bytesPerSecond: undefined, clock, burstMs: 1000 })
    await bucket.take(1e9, never)
    bucket.setRate(100)
    const log = takeAll(bucket, clock, [50])
    clock.advance(499)
    await turns(2)
    assert.equal(log.length, 0)
    clock.advance(1)
    await turns(2)
    assert.equal(log.length, 1)
  })

  it('refuses what is no rate', () => {
    const bucket = new TokenBucket({ bytesPerSecond: 1, clock: new ManualClock() })
    for (const rate of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => bucket.setRate(rate), RangeError)
    }
  })
})

describe('TokenBucket.spend()', () => {
  it('takes at once, and the next ones pay for it', async () => {
    const clock = new ManualClock()
    const bucket = new TokenBucket({ bytesPerSecond: 1000, clock, burstMs: 1000 })
    bucket.spend(3000)
    const log = takeAll(bucket, clock, [500])
    clock.advance(2499)
    await turns(2)
    assert.equal(log.length, 0)
    clock.advance(1)
    await turns(2)
    assert.equal(log.length, 1)
  })

  it('costs nothing without a limit', async () => {
    const bucket = new TokenBucket({ bytesPerSecond: undefined, clock: new ManualClock() })
    bucket.spend(1e12)
    bucket.setRate(1000)
    bucket.spend(0)
    assert.equal(bucket.waiting, 0)
  })
})

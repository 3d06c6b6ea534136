import assert from 'node:assert/strict'
import { setMaxListeners } from 'node:events'
import { describe, it } from 'node:test'
import { limitedSink } from '../../src/peer/limited.ts'
import { Live } from '../../src/peer/live.ts'
import { MeteredGate } from '../../src/peer/metered-gate.ts'
import type { DownloadLimits, PeerLimits } from '../../src/peer/options.ts'
import { Pace } from '../../src/peer/pace.ts'
import { RunLimits } from '../../src/peer/run-limits.ts'
import { settings } from '../../src/peer/settings.ts'
import { MemoryStore } from '../../src/storage/memory-store.ts'
import { geometry } from '../../src/task/piece.ts'
import type { Slot } from '../../src/task/ports.ts'
import { deferred } from '../../src/util/deferred.ts'
import { TokenBucket } from '../../src/util/rate.ts'
import { ManualClock } from '../transport/manual-clock.ts'
import { turns } from '../transport/until.ts'

const never = new AbortController().signal
setMaxListeners(0, never)
const kib = 1024
const mib = 1024 * kib

function gateOf(clock: ManualClock, bytesPerSecond?: number): MeteredGate {
  return new MeteredGate(new TokenBucket({ bytesPerSecond, clock }))
}

/** Fills a slot as fast as it lets itself be filled. */
async function fill(slot: Slot): Promise<void> {
  while (slot.filled < slot.piece.length) {
    const space = slot.space()
    if (space === undefined) await slot.drained()
    else slot.fill(space.length)
  }
}

/** Lets time pass in steps of a millisecond. */
async function pass(clock: ManualClock, ms: number): Promise<void> {
  for (let at = 0; at < ms; at++) {
    clock.advance(1)
    await turns(3)
  }
}

async function sinkOf(t: { after(end: () => Promise<void>): void }, pace: Pace, length: number) {
  const store = new MemoryStore({ bytesMax: 2 * length })
  t.after(() => store.close())
  const id = 'a'.repeat(64)
  const record = { id, kind: 'standard', createdAt: 0 } as const
  return limitedSink(await store.create(record, geometry(length, 4 * mib)), pace)
}

describe('Pace', () => {
  it('holds the tighter one of the two limits, and follows changes of both', async (t) => {
    const clock = new ManualClock()
    const gate = gateOf(clock, 8 * mib)
    const pace = new Pace(gate, clock)
    pace.setRate(4 * mib)
    const sink = await sinkOf(t, pace, 64 * mib)
    const ended = deferred<void>()
    const work = (async () => {
      for (let number = 0; number < 16; number++) {
        const slot = await sink.slot(number, never)
        await fill(slot)
        await sink.commit(slot, { digest: '', parentId: '' })
        slot.release()
      }
      ended.resolve()
    })()
    /** MiB/s, once what was saved up is gone. */
    const during = async (ms: number): Promise<number> => {
      await pass(clock, 200)
      const before = gate.bytes
      await pass(clock, ms)
      return (gate.bytes - before) / mib / (ms / 1000)
    }
    const near = (rate: number, wanted: number): void =>
      assert.ok(Math.abs(rate - wanted) <= wanted * 0.1, `${rate} MiB/s in place of ${wanted}`)
    near(await during(500), 4)
    pace.setRate(undefined)
    near(await during(500), 8)
    gate.setRate(2 * mib)
    near(await during(500), 2)
    pace.setRate(16 * mib)
    gate.setRate(32 * mib)
    near(await during(500), 16)
    gate.setRate(undefined)
    pace.setRate(undefined)
    await Promise.all([work, pass(clock, 10)])
    assert.equal(gate.bytes, 64 * mib)
  })

  it('gives all runs of a peer the same share, however many pieces each fetches', async () => {
    const clock = new ManualClock()
    const gate = gateOf(clock, mib)
    const [one, many] = [new Pace(gate, clock), new Pace(gate, clock)]
    const got = { one: 0, many: 0 }
    const stop = new AbortController()
    setMaxListeners(0, stop.signal)
    const take = async (pace: Pace, who: 'one' | 'many'): Promise<void> => {
      while (!stop.signal.aborted) {
        await pace.take(pace.partBytes, stop.signal)
        got[who] += pace.partBytes
      }
    }
    const takers = [take(one, 'one'), ...Array.from({ length: 16 }, () => take(many, 'many'))]
    await pass(clock, 1000)
    stop.abort(new Error('enough'))
    await Promise.allSettled(takers)
    assert.ok(got.one + got.many > 0.9 * mib)
    assert.ok(Math.abs(got.one - got.many) <= 2 * one.partBytes, JSON.stringify(got))
  })

  it('begins no more pieces than come in a second, and always one', async () => {
    const clock = new ManualClock()
    const pace = new Pace(gateOf(clock, 8 * mib), clock)
    const first = await pace.enter(4 * mib, never)
    await pace.enter(4 * mib, never)
    let third = false
    const waiting = pace.enter(4 * mib, never).then(() => (third = true))
    await turns(3)
    assert.equal(third, false)
    first()
    first()
    await waiting
    const abort = new AbortController()
    const fourth = pace.enter(64 * mib, abort.signal)
    abort.abort('gone')
    await assert.rejects(fourth, (error) => error === 'gone')
    const slow = new Pace(gateOf(clock, kib), clock)
    await slow.enter(64 * mib, never)
  })

  it('begins waiting pieces when the limit is lifted', async () => {
    const clock = new ManualClock()
    const pace = new Pace(gateOf(clock), clock)
    pace.setRate(kib)
    await pace.enter(mib, never)
    const waiting = pace.enter(64 * mib, never)
    pace.setRate(undefined)
    await waiting
  })

  it('counts what came without a limit, and lets it be paid for when there is one', async (t) => {
    const clock = new ManualClock()
    const gate = gateOf(clock)
    const pace = new Pace(gate, clock)
    const sink = await sinkOf(t, pace, 4 * mib)
    const slot = await sink.slot(0, never)
    const space = slot.space()
    assert.equal(space?.length, 4 * mib)
    gate.setRate(mib)
    slot.fill(2 * mib)
    assert.equal(gate.bytes, 2 * mib)
    assert.equal(slot.space(), undefined)
    let drained = false
    const waiting = slot.drained().then(() => (drained = true))
    await pass(clock, 1900)
    assert.equal(drained, false)
    await pass(clock, 300)
    await waiting
    assert.equal(slot.space()?.length, pace.partBytes)
    slot.release()
  })

  it('wakes who waits when the limit is lifted', async (t) => {
    const clock = new ManualClock()
    const gate = gateOf(clock, kib)
    const sink = await sinkOf(t, new Pace(gate, clock), 4 * mib)
    const slot = await sink.slot(0, never)
    const filled = fill(slot)
    await turns(3)
    gate.setRate(undefined)
    await filled
    assert.match(await slot.finish(), /^crc32:/)
    slot.release()
  })
})

describe('RunLimits', () => {
  const own = (concurrency?: number, downloadBytesPerSecond?: number): Live<DownloadLimits> =>
    new Live<DownloadLimits>({ concurrency, downloadBytesPerSecond })

  it('follows the download that allows most, and the peer', () => {
    const clock = new ManualClock()
    const limits = new Live<PeerLimits>(settings().limits)
    const run = new RunLimits({ clock, limits, downloadGate: gateOf(clock) })
    const seen: number[] = []
    run.rule({ setConcurrency: (count) => seen.push(count), ended: new Promise(() => undefined) })
    const slow = own(2, 10_000)
    run.join(slow)
    assert.deepEqual([run.concurrency, run.pace.limited], [2, true])
    const leave = run.join(own())
    assert.deepEqual([run.concurrency, run.pace.limited], [8, false])
    limits.set({ ...limits.now, concurrency: 32 })
    assert.equal(run.concurrency, 32)
    leave()
    assert.deepEqual([run.concurrency, run.pace.limited], [2, true])
    slow.set({ concurrency: 5, downloadBytesPerSecond: undefined })
    assert.deepEqual([run.concurrency, run.pace.limited], [5, false])
    run.close()
    limits.set({ ...limits.now, concurrency: 1 })
    assert.deepEqual(seen, [2, 8, 32, 2, 5])
  })
})

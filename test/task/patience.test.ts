import assert from 'node:assert/strict'
import test from 'node:test'
import { Patience, UsualSilence, WatchedSlot } from '../../src/task/patience.ts'
import type { Slot } from '../../src/task/ports.ts'
import { deferred } from '../../src/util/deferred.ts'
import { VirtualClock } from '../sim/clock.ts'

const limits = { quietMs: 1500, slowMs: 60_000, endMs: 60_000 }

interface Watched {
  readonly patience: Patience
  readonly calls: string[]
}

function watched(clock: VirtualClock, behind = true): Watched {
  const calls: string[] = []
  const patience = new Patience(clock, limits, {
    behind: () => behind,
    onQuiet: () => calls.push(`quiet ${clock.now()}`),
    onEnd: () => calls.push(`end ${clock.now()}`),
  })
  return { patience, calls }
}

test('Patience tells silence once, and its end', async () => {
  const clock = new VirtualClock()
  const { patience, calls } = watched(clock)
  await clock.pass(100_000)
  assert.deepEqual(calls, ['quiet 1500', 'end 60000'])
  assert.equal(clock.pending, 0)
  assert.equal(patience.quiet, false)
})

test('Patience.touch() begins the silence anew', async () => {
  const clock = new VirtualClock()
  const { patience, calls } = watched(clock)
  for (let count = 0; count < 10; count++) {
    await clock.pass(1400)
    patience.touch()
  }
  assert.deepEqual(calls, [])
  await clock.pass(1499)
  assert.equal(patience.quiet, false)
  await clock.pass(1)
  assert.equal(patience.quiet, true)
  assert.deepEqual(calls, ['quiet 15500'])
  patience.stop()
})

test('Patience takes no time in which the sender waited for us for its silence, where that can be told', async () => {
  const clock = new VirtualClock()
  const calls: string[] = []
  let silentSince = Number.POSITIVE_INFINITY
  const patience = new Patience(clock, limits, {
    behind: () => false,
    silentMs: () => Math.max(0, clock.now() - silentSince),
    onQuiet: () => calls.push(`quiet ${clock.now()}`),
    onEnd: () => calls.push(`end ${clock.now()}`),
  })
  await clock.pass(100_000)
  assert.equal(patience.quiet, false)
  silentSince = clock.now()
  await clock.pass(1499)
  assert.deepEqual([patience.quiet, calls.length], [false, 0])
  await clock.pass(100_000)
  assert.deepEqual(calls, ['quiet 101500', 'end 160000'])
})

test('Patience counts no time in which the sender waited for us, however long it was', async () => {
  const clock = new VirtualClock()
  const calls: string[] = []
  let silentMs: number | undefined
  const patience = new Patience(clock, limits, {
    behind: () => true,
    silentMs: () => silentMs,
    onQuiet: () => calls.push(`quiet ${clock.now()}`),
    onEnd: () => calls.push(`end ${clock.now()}`),
  })
  await clock.pass(1000)
  silentMs = 0
  await clock.pass(300_000)
  assert.deepEqual([calls.length, patience.trickles], [0, false])
  silentMs = undefined
  patience.touch()
  assert.ok(patience.longestMs <= 1500, `${patience.longestMs} ms`)
  patience.stop()
})

test('Patience looks once more when its timer is late: what has come is read only after that', async () => {
  for (const comes of [true, false]) {
    const clock = new VirtualClock()
    const { patience, calls } = watched(clock)
    await clock.pass(1400)
    // This process is stopped for a while.
    const now = clock.now.bind(clock)
    clock.now = () => now() + 5000
    await clock.until(() => now() === 1500)
    if (comes) patience.touch()
    await clock.pass(1)
    assert.deepEqual(calls, comes ? [] : ['quiet 6501'])
    patience.stop()
  }
})

test('Patience notices a second silence after the first was broken', async () => {
  const clock = new VirtualClock()
  const { patience, calls } = watched(clock)
  await clock.pass(5000)
  patience.touch()
  assert.equal(patience.quiet, false)
  await clock.pass(5000)
  assert.deepEqual(calls, ['quiet 1500', 'quiet 6500'])
  patience.stop()
})

for (const behind of [true, false]) {
  test(`Patience takes a trickle for silence after its longest time, if it is behind: ${behind}`, async () => {
    const clock = new VirtualClock()
    const { patience, calls } = watched(clock, behind)
    for (let count = 0; count < 70; count++) {
      await clock.pass(1000)
      patience.touch()
    }
    assert.equal(patience.quiet, behind)
    assert.equal(calls.length > 0, behind)
    assert.ok(calls.every((call) => call.startsWith('quiet 6')))
    patience.stop()
  })
}

test('Patience.hold() stops the count while our own side is behind', async () => {
  const clock = new VirtualClock()
  const { patience, calls } = watched(clock)
  await clock.pass(1000)
  patience.hold()
  await clock.pass(200_000)
  assert.equal(patience.quiet, false)
  patience.release()
  await clock.pass(1499)
  assert.deepEqual(calls, [])
  await clock.pass(1501)
  // It took long in all, so it counts as quiet from now on; what matters is that this was not told before.
  assert.ok(calls.length > 0)
  patience.stop()
})

test('Patience.stop() ends all calls, and using does it', async () => {
  const clock = new VirtualClock()
  const { calls } = (() => {
    const { patience, calls: seen } = watched(clock)
    using _ = patience
    return { calls: seen }
  })()
  await clock.pass(100_000)
  assert.deepEqual(calls, [])
  assert.equal(clock.pending, 0)
})

test('WatchedSlot passes bytes through, tells of them, and keeps the failure of our own side', async () => {
  const clock = new VirtualClock()
  const { patience } = watched(clock)
  const full = new Error('disk')
  const gate = deferred<void>()
  const memory = new Uint8Array(4)
  const inner: Slot = {
    piece: { number: 0, offset: 0, length: 4 },
    filled: 2,
    space: () => memory,
    fill: () => undefined,
    rewind: () => Promise.resolve(),
    drained: async () => {
      await gate.promise
      throw full
    },
    finish: async () => 'crc32:1',
    release: () => undefined,
  }
  const bytes: number[] = []
  const slot = new WatchedSlot(inner, patience, (count) => bytes.push(count))
  assert.equal(slot.space(), memory)
  slot.fill(2)
  slot.fill(0)
  assert.deepEqual(bytes, [2])
  assert.equal(await slot.finish(), 'crc32:1')
  const waiting = slot.drained()
  await clock.pass(10_000)
  assert.equal(patience.quiet, false)
  gate.resolve()
  await assert.rejects(waiting, /disk/)
  assert.equal(slot.failure?.error, full)
  patience.stop()
})

test('WatchedSlot.rewind() is our own time, and its failure our own', async () => {
  const clock = new VirtualClock()
  const { patience } = watched(clock)
  const full = new Error('disk')
  const gate = deferred<void>()
  const inner = { rewind: () => gate.promise } as Slot
  const slot = new WatchedSlot(inner, patience, () => undefined)
  const rewinding = slot.rewind()
  await clock.pass(10_000)
  assert.equal(patience.quiet, false)
  gate.reject(full)
  await assert.rejects(rewinding, /disk/)
  assert.equal(slot.failure?.error, full)
  patience.stop()
})

test('Patience.longestMs is the longest silence that ended, without what was our own fault', async () => {
  const clock = new VirtualClock()
  const { patience } = watched(clock)
  await clock.pass(700)
  patience.touch()
  await clock.pass(300)
  patience.touch()
  patience.hold()
  await clock.pass(5000)
  patience.release()
  await clock.pass(900)
  assert.equal(patience.longestMs, 700)
  patience.touch()
  assert.equal(patience.longestMs, 900)
  patience.stop()
})

test('UsualSilence is patient with twice the median of what was worth waiting for lately', () => {
  const usual = new UsualSilence()
  assert.equal(usual.patienceMs, 0)
  usual.onKept(100)
  assert.equal(usual.patienceMs, 200)
  for (let count = 0; count < 20; count++) usual.onKept(10)
  // One that was very late says nothing about the others.
  usual.onKept(50_000)
  assert.equal(usual.patienceMs, 20)
  for (let count = 0; count < 9; count++) usual.onKept(4000)
  assert.equal(usual.patienceMs, 8000)
})

import assert from 'node:assert/strict'
import test from 'node:test'
import { Patience, WatchedSlot } from '../../src/task/patience.ts'
import type { Slot } from '../../src/task/ports.ts'
import { deferred } from '../../src/util/deferred.ts'
import { VirtualClock } from '../sim/clock.ts'

const limits = { quietMs: 1500, endMs: 60_000 }

function watched(clock: VirtualClock): { readonly patience: Patience; readonly calls: string[] } {
  const calls: string[] = []
  const note = (what: string) => () => {
    calls.push(`${what} ${clock.now()}`)
  }
  return { patience: new Patience(clock, limits, note('quiet'), note('end')), calls }
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

test('Patience takes a trickle for silence after its longest time', async () => {
  const clock = new VirtualClock()
  const { patience, calls } = watched(clock)
  for (let count = 0; count < 70; count++) {
    await clock.pass(1000)
    patience.touch()
  }
  assert.equal(patience.quiet, true)
  assert.ok(calls.length > 0 && calls.every((call) => call.startsWith('quiet 6')))
  patience.stop()
})

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

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Collector, type GcHost } from '../../src/storage/gc.ts'
import type { GcTask } from '../../src/storage/gc-policy.ts'
import { Quota } from '../../src/storage/quota.ts'
import { code } from './filling.ts'
import { ManualClock } from './manual-clock.ts'

function host(count: number, more: Partial<GcHost> = {}): GcHost & { readonly dropped: string[] } {
  const dropped: string[] = []
  const tasks = new Map<string, GcTask>()
  for (let at = 0; at < count; at++) {
    const id = `${at}`
    tasks.set(id, { id, bytes: 10, usedAt: at, createdAt: 0, persistent: false, held: false })
  }
  return {
    dropped,
    clock: new ManualClock(),
    tasks: () => [...tasks.values()],
    drop: async ({ id }) => {
      await Promise.resolve()
      tasks.delete(id)
      dropped.push(id)
    },
    capacity: () => Promise.resolve({ bytesUsed: tasks.size * 10, bytesMax: 100 }),
    ...more,
  }
}

test('Collector.collect() drops a bounded number in each turn of the event loop', async () => {
  const stage = host(100)
  const collector = new Collector(stage, {})
  const perTurn: number[] = []
  const state = { done: false }
  const running = collector.collect().finally(() => {
    state.done = true
  })
  let before = 0
  const deadline = performance.now() + 5000
  while (!state.done && performance.now() < deadline) {
    await new Promise<void>((resolve) => setImmediate(resolve))
    perTurn.push(stage.dropped.length - before)
    before = stage.dropped.length
  }
  await running
  assert.equal(stage.dropped.length, 93)
  assert.deepEqual(stage.dropped.slice(0, 3), ['0', '1', '2'])
  assert.ok(Math.max(...perTurn) <= 32, `dropped ${perTurn.join(' ')}`)
  await collector.close()
})

test('Collector.collect() tries all, and says what failed', async () => {
  const stage = host(20, {
    drop: ({ id }) => (id === '3' ? Promise.reject(new Error('busy')) : Promise.resolve()),
  })
  const collector = new Collector(stage, {})
  await assert.rejects(collector.collect(), /busy/)
  await collector.close()
})

test('Collector runs by the clock until it is closed, also after a failure', async () => {
  const clock = new ManualClock()
  const count = { ticks: 0 }
  const stage = host(0, {
    clock,
    tick: () => {
      count.ticks++
      return count.ticks === 1 ? Promise.reject(new Error('once')) : Promise.resolve()
    },
  })
  const collector = new Collector(stage, { gcIntervalMs: 1000 })
  collector.start()
  while (count.ticks < 3) {
    clock.advance(1000)
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  await collector.close()
  clock.advance(10_000)
  await new Promise<void>((resolve) => setImmediate(resolve))
  clock.advance(10_000)
  assert.equal(count.ticks, 3)
})

test('Collector refuses marks that make no sense', () => {
  for (const options of [{ highWater: 1.1 }, { lowWater: -1 }, { highWater: 0.5, lowWater: 0.6 }]) {
    assert.throws(() => new Collector(host(0), options), RangeError)
  }
})

test('Quota.take() counts what is free on the disk, less what is promised already', async () => {
  let free = 100
  let written = 0
  let collections = 0
  const quota = new Quota({
    path: 'here',
    bytesMax: 1000,
    highWater: 1,
    collect: () => {
      collections++
      return Promise.resolve()
    },
    free: () => Promise.resolve(free),
    written: () => written,
  })
  await quota.take(60)
  await assert.rejects(quota.take(41), (error) => {
    assert.deepEqual((error as { details?: unknown }).details, {
      path: 'here',
      needed: 41,
      available: 40,
    })
    return true
  })
  assert.equal(collections, 1)
  assert.equal(quota.used, 60)
  free = 40
  written = 60
  await quota.take(40)
  await assert.rejects(quota.take(1), code('NO_SPACE'))
  quota.give(100)
  assert.equal(quota.used, 0)
})

test('Quota.take() looks at the disk once in a while only, while there is plenty of room', async () => {
  let now = 0
  let looks = 0
  const quota = new Quota({
    path: 'here',
    bytesMax: 1000,
    highWater: 1,
    collect: () => Promise.resolve(),
    free: () => {
      looks++
      return Promise.resolve(1000)
    },
    written: () => 0,
    now: () => now,
  })
  for (let count = 0; count < 50; count++) await quota.take(10)
  assert.equal(looks, 1)
  await quota.take(10)
  assert.ok(looks > 1, 'More than half is taken')
  quota.give(500)
  looks = 0
  now += 1000
  await quota.take(1)
  assert.equal(looks, 1)
})

test('Quota.setBytesMax() holds from the next take on', async () => {
  let collections = 0
  const collect = (): Promise<void> => {
    collections++
    return Promise.resolve()
  }
  const quota = new Quota({ path: 'here', bytesMax: 100, highWater: 1, collect })
  await quota.take(80)
  quota.setBytesMax(50)
  assert.deepEqual([quota.used, quota.bytesMax, collections], [80, 50, 0])
  await assert.rejects(quota.take(1), code('NO_SPACE'))
  quota.setBytesMax(81)
  await quota.take(1)
  assert.equal(quota.used, 81)
})

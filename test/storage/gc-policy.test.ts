import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  chooseGarbage,
  type GcChoice,
  type GcLimits,
  type GcTask,
} from '../../src/storage/gc-policy.ts'

const now = 1_000_000

function task(id: string, more: Partial<GcTask> = {}): GcTask {
  const plain = { bytes: 10, usedAt: now - 1, createdAt: now - 1000 }
  return { id, ...plain, persistent: false, held: false, ...more }
}

const limits: GcLimits = { now, bytesUsed: 0, highWaterBytes: 100, lowWaterBytes: 50 }

const table: readonly {
  readonly name: string
  readonly tasks: readonly GcTask[]
  readonly limits?: Partial<GcLimits>
  readonly chosen: readonly GcChoice[]
}[] = [
  { name: 'nothing below the high mark', tasks: [task('a')], chosen: [] },
  {
    name: 'nothing at the high mark',
    tasks: [task('a')],
    limits: { bytesUsed: 100 },
    chosen: [],
  },
  {
    name: 'the longest unused first, down to the low mark',
    tasks: [
      task('new', { bytes: 40, usedAt: now - 1 }),
      task('old', { bytes: 40, usedAt: now - 3 }),
      task('older', { bytes: 40, usedAt: now - 5 }),
    ],
    limits: { bytesUsed: 120 },
    chosen: [
      { id: 'older', why: 'usage' },
      { id: 'old', why: 'usage' },
    ],
  },
  {
    name: 'what has outlived its own time, also below the high mark',
    tasks: [
      task('over', { ttlMs: 1000 }),
      task('not yet', { ttlMs: 1001 }),
      task('kept over', { ttlMs: 1000, persistent: true }),
      task('held', { ttlMs: 1, held: true }),
    ],
    chosen: [
      { id: 'over', why: 'ttl' },
      { id: 'kept over', why: 'ttl' },
    ],
  },
  {
    name: 'what was not used for the time of the store, unless it is persistent',
    tasks: [
      task('unused', { usedAt: now - 500 }),
      task('used', { usedAt: now - 499 }),
      task('persistent', { usedAt: now - 500, persistent: true }),
      task('own time', { usedAt: now - 500, ttlMs: 2000 }),
    ],
    limits: { ttlMs: 500 },
    chosen: [{ id: 'unused', why: 'ttl' }],
  },
  {
    name: 'no more for usage than what time has left over',
    tasks: [task('over', { bytes: 60, ttlMs: 1 }), task('fresh', { bytes: 60 })],
    limits: { bytesUsed: 120 },
    chosen: [{ id: 'over', why: 'ttl' }],
  },
  {
    name: 'no adopted file for usage: that frees nothing',
    tasks: [task('adopted', { bytes: 0 })],
    limits: { bytesUsed: 500 },
    chosen: [],
  },
]

for (const { name, tasks, limits: more, chosen } of table) {
  test(`chooseGarbage() chooses ${name}`, () => {
    assert.deepEqual(chooseGarbage(tasks, { ...limits, ...more }), chosen)
  })
}

const anyTask = fc.record(
  {
    bytes: fc.nat(100),
    usedAt: fc.integer({ min: now - 200, max: now }),
    createdAt: fc.integer({ min: now - 400, max: now }),
    ttlMs: fc.nat(400),
    persistent: fc.boolean(),
    held: fc.boolean(),
  },
  { requiredKeys: ['bytes', 'usedAt', 'createdAt', 'persistent', 'held'] },
)

const anyCase = fc
  .record({
    tasks: fc.array(anyTask, { maxLength: 30 }),
    high: fc.nat(1500),
    low: fc.nat(1500),
    wanted: fc.nat(200),
    ttlMs: fc.option(fc.nat(300), { nil: undefined }),
  })
  .map(({ tasks, high, low, wanted, ttlMs }) => {
    const named: GcTask[] = tasks.map((more, at) => ({ ...more, id: `${at}` }))
    const bytesUsed = named.reduce((sum, { bytes }) => sum + bytes, wanted)
    const marks: GcLimits = {
      now,
      bytesUsed,
      highWaterBytes: Math.max(high, low),
      lowWaterBytes: Math.min(high, low),
      ...(ttlMs === undefined ? {} : { ttlMs }),
    }
    return { tasks: named, limits: marks }
  })

function over(found: GcTask, at: GcLimits): boolean {
  if (found.ttlMs !== undefined) return found.createdAt + found.ttlMs <= at.now
  return !found.persistent && at.ttlMs !== undefined && found.usedAt + at.ttlMs <= at.now
}

test('chooseGarbage() keeps its promises for any tasks', () => {
  fc.assert(
    fc.property(anyCase, ({ tasks, limits: at }) => {
      const chosen = chooseGarbage(tasks, at)
      const byId = new Map(tasks.map((found) => [found.id, found]))
      const why = new Map(chosen.map((choice) => [choice.id, choice.why]))
      assert.equal(why.size, chosen.length, 'each task at most once')
      for (const found of tasks) {
        const reason = why.get(found.id)
        if (found.held) assert.equal(reason, undefined, 'never what is held')
        else assert.equal(reason === 'ttl', over(found, at), 'whatever is over, and only that')
        if (reason === 'usage') assert.ok(!found.persistent && found.bytes > 0)
      }
      const bytesOf = (ids: Iterable<string>): number =>
        [...ids].reduce((sum, id) => sum + (byId.get(id)?.bytes ?? 0), 0)
      const afterTtl =
        at.bytesUsed - bytesOf([...why].filter(([, reason]) => reason === 'ttl').map(([id]) => id))
      const dropped = chosen.filter((choice) => choice.why === 'usage').map(({ id }) => id)
      const left = tasks.filter(
        ({ id, held, persistent, bytes }) => !why.has(id) && !held && !persistent && bytes > 0,
      )
      if (afterTtl <= at.highWaterBytes) {
        assert.deepEqual(dropped, [], 'nothing for usage below the high mark')
        return
      }
      const after = afterTtl - bytesOf(dropped)
      assert.ok(after <= at.lowWaterBytes || left.length === 0, 'down to the low mark if possible')
      if (dropped.length > 0) {
        assert.ok(after + bytesOf(dropped.slice(-1)) > at.lowWaterBytes, 'and no further')
      }
      const newest = Math.max(...dropped.map((id) => byId.get(id)?.usedAt ?? 0))
      for (const { usedAt } of left) assert.ok(usedAt >= newest, 'longest unused first')
    }),
    { numRuns: 2000 },
  )
})

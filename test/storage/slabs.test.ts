import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SlabPool } from '../../src/storage/slabs.ts'
import { never } from './filling.ts'

test('SlabPool.take() hands out no more than there are, and the last one given back first', async () => {
  const pool = new SlabPool({ count: 2, slabBytes: 10 })
  const one = await pool.take(never)
  const two = await pool.take(never)
  assert.deepEqual([one.length, two.length, pool.taken], [10, 10, 2])
  assert.equal(pool.tryTake(), undefined)
  pool.give(one)
  pool.give(two)
  assert.equal(pool.tryTake(), two)
})

test('SlabPool.take() serves those who wait in order, without those who left', async () => {
  const pool = new SlabPool({ count: 1, slabBytes: 10 })
  const slab = await pool.take(never)
  const order: number[] = []
  const controllers = [1, 2, 3].map(() => new AbortController())
  const waits = controllers.map(async ({ signal }, at) => {
    const got = await pool.take(signal)
    order.push(at)
    return got
  })
  assert.equal(pool.waiting, 3)
  const reason = new Error('enough')
  controllers[1]?.abort(reason)
  await assert.rejects(waits[1] ?? Promise.resolve(), (error) => error === reason)
  assert.equal(pool.waiting, 2)
  pool.give(slab)
  assert.equal(pool.tryTake(), undefined, 'nobody overtakes those who wait')
  assert.equal(await waits[0], slab)
  pool.give(slab)
  assert.equal(await waits[2], slab)
  assert.deepEqual(order, [0, 2])
  pool.give(slab)
  await assert.rejects(pool.take(AbortSignal.abort(reason)), (error) => error === reason)
  assert.equal(pool.taken, 0)
})

test('SlabPool never has more out than it has, and forgets none, whatever is done', async () => {
  const step = fc.oneof(
    fc.constant('take' as const),
    fc.constant('try' as const),
    fc.constant('give' as const),
    fc.constant('abort' as const),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(step, { maxLength: 40 }),
      async (count, steps) => {
        const pool = new SlabPool({ count, slabBytes: 1 })
        const held: Uint8Array[] = []
        const waiting = new Set<AbortController>()
        for (const action of steps) {
          if (action === 'take') {
            const controller = new AbortController()
            waiting.add(controller)
            void pool
              .take(controller.signal)
              .then((slab) => held.push(slab))
              .catch(() => undefined)
              .finally(() => waiting.delete(controller))
          } else if (action === 'try') {
            const slab = pool.tryTake()
            if (slab !== undefined) held.push(slab)
          } else if (action === 'give') {
            const slab = held.pop()
            if (slab !== undefined) pool.give(slab)
          } else {
            for (const controller of waiting) {
              controller.abort()
              break
            }
          }
          for (let turn = 0; turn < 5; turn++) await Promise.resolve()
          assert.ok(pool.taken <= count)
          assert.equal(pool.taken, held.length)
          assert.equal(new Set(held).size, held.length)
          assert.ok(pool.waiting === 0 || held.length === count)
        }
        for (const controller of waiting) controller.abort()
      },
    ),
    { numRuns: 200 },
  )
})

test('SlabPool refuses counts that make no sense', () => {
  for (const value of [0, -1, 1.5, Number.NaN]) {
    assert.throws(() => new SlabPool({ count: value }), RangeError)
    assert.throws(() => new SlabPool({ slabBytes: value }), RangeError)
  }
})

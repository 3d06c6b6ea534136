import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { Bitmap } from '../../src/util/bitmap.ts'

test('Bitmap keeps what a set of numbers would keep', () => {
  const step = fc.record({ add: fc.boolean(), number: fc.integer({ min: -3, max: 45 }) })
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 40 }), fc.array(step), (count, steps) => {
      const bitmap = new Bitmap(count)
      const model = new Set<number>()
      for (const { add, number } of steps) {
        const inside = number >= 0 && number < count
        const changes = inside && model.has(number) !== add
        assert.equal(add ? bitmap.add(number) : bitmap.delete(number), changes)
        if (add && inside) model.add(number)
        if (!add) model.delete(number)
        assert.equal(bitmap.has(number), model.has(number))
      }
      assert.equal(bitmap.held, model.size)
      assert.equal(bitmap.full, model.size === count)
      assert.deepEqual(
        [...bitmap],
        [...model].sort((one, other) => one - other),
      )
    }),
  )
})

test('Bitmap.has() is false for what is no number of it', () => {
  const bitmap = new Bitmap(8)
  for (let number = 0; number < 8; number++) bitmap.add(number)
  for (const number of [-1, 8, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 32, 2 ** 53]) {
    assert.equal(bitmap.has(number), false, String(number))
    assert.equal(bitmap.add(number), false, String(number))
  }
  assert.equal(bitmap.held, 8)
})

test('Bitmap with no possible number is full and empty', () => {
  const bitmap = new Bitmap(0)
  assert.equal(bitmap.full, true)
  assert.deepEqual([...bitmap], [])
})

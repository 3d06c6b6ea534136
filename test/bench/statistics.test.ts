import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { bounded, compared, median, rangeOf } from '../../bench/statistics.ts'
import { cpuPerGibibyte, throughput, transferRows } from '../../bench/transfer-rows.ts'

const gibibyte = 2 ** 30

test('median() is the middle, or the mean of the two in the middle', () => {
  assert.equal(median([5]), 5)
  assert.equal(median([9, 1, 5]), 5)
  assert.equal(median([1, 10, 100, 1000]), 55)
  assert.ok(Number.isNaN(median([])))
})

test('median() has as many values above as below, whatever the order', () => {
  const values = fc.array(fc.integer(), { minLength: 1, maxLength: 20 })
  fc.assert(
    fc.property(values, (list) => {
      const middle = median(list)
      const [above, below] = [list.filter((v) => v > middle), list.filter((v) => v < middle)]
      const rest = list.length / 2
      assert.ok(above.length <= rest && below.length <= rest)
      const [least, most] = rangeOf(list)
      assert.ok(least <= middle && middle <= most)
    }),
  )
})

test('compared() judges the ratio of the medians', () => {
  const figures = { name: 'a', unit: 'MiB/s', reference: 'c', ours: [80, 1, 90], theirs: [100] }
  const row = compared({ ...figures, goal: { is: 'at least', ratio: 0.8 } })
  assert.deepEqual(row, {
    name: 'a',
    value: 80,
    unit: 'MiB/s',
    reference: 'c',
    referenceValue: 100,
    ratio: 0.8,
    goal: 'ratio ≥ 0.8',
    holds: true,
    range: [1, 90],
    referenceRange: [100, 100],
  })
  assert.equal(compared({ ...figures, goal: { is: 'at least', ratio: 0.81 } }).holds, false)
  assert.equal(compared({ ...figures, goal: { is: 'at most', ratio: 0.8 } }).holds, true)
  assert.equal(compared({ ...figures, goal: { is: 'at most', ratio: 0.79 } }).holds, false)
})

test('compared() judges nothing without a goal, and nothing without a reference', () => {
  const figures = { name: 'a', unit: 's', reference: 'c', ours: [1], theirs: [2] }
  const told = compared(figures)
  assert.deepEqual([told.goal, told.holds, told.ratio], ['', undefined, 0.5])
  const alone = compared({ ...figures, theirs: [], goal: { is: 'at most', ratio: 1 } })
  assert.equal(alone.holds, undefined)
  assert.ok(Number.isNaN(alone.ratio))
})

test('bounded() judges the largest value', () => {
  const figures = { name: 'a', unit: 'ms', values: [1, 50, 2] }
  assert.equal(bounded({ ...figures, max: 50 }).holds, true)
  const row = bounded({ ...figures, max: 49 })
  assert.deepEqual([row.holds, row.value, row.referenceValue], [false, 50, 49])
  assert.equal(row.goal, '≤ 49 ms')
})

test('transferRows() says bytes per second, processor time per byte, memory and turns', () => {
  const ours = { bytes: gibibyte, seconds: 2, cpuSeconds: 3, peakBytes: 2 ** 27, turnMs: 10 }
  const theirs = { bytes: gibibyte, seconds: 1, cpuSeconds: 1, peakBytes: 2 ** 22 }
  assert.equal(throughput(ours), 512)
  assert.equal(cpuPerGibibyte({ ...ours, bytes: gibibyte / 2 }), 6)
  const rows = transferRows({
    name: 'x',
    reference: 'c',
    ours: [ours],
    theirs: [theirs],
    goal: { is: 'at least', ratio: 0.9 },
    peakBytesMax: 2 ** 27,
  })
  const facts = rows.map(({ name, unit, value, referenceValue, holds }) => [
    name,
    unit,
    value,
    referenceValue,
    holds,
  ])
  assert.deepEqual(facts, [
    ['x', 'MiB/s', 512, 1024, false],
    ['x: processor', 'CPU s/GiB', 3, 1, undefined],
    ['x: peak resident', 'MiB', 128, 128, true],
    ['x: longest turn', 'ms', 10, 50, true],
  ])
})

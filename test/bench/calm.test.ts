import assert from 'node:assert/strict'
import { test } from 'node:test'
import { calm } from '../../bench/calm.ts'

const limits = { readings: 5, spread: 2, readingsMax: 20 } as const

async function after(...figures: readonly number[]): Promise<{ value: number; reads: number }> {
  let reads = 0
  const read = (): number => figures[Math.min(reads++, figures.length - 1)] ?? 0
  return { value: await calm(read, () => Promise.resolve(), limits), reads }
}

test('calm() does not take a standstill for the end', async () => {
  const { value, reads } = await after(22, 31, 28, 28, 28, 28, 34, 20, 20, 21, 21, 22)
  assert.deepEqual({ value, reads }, { value: 22, reads: 12 })
})

test('calm() waits while the figure creeps', async () => {
  const { value, reads } = await after(1, 2, 3, 4, 5, 6, 7, 7, 7)
  assert.deepEqual({ value, reads }, { value: 7, reads: 9 })
})

test('calm() gives up on a figure that never rests', async () => {
  const figures = Array.from({ length: 40 }, (_, at) => at * 10)
  assert.deepEqual(await after(...figures), { value: 190, reads: 20 })
})

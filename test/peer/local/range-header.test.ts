import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lastOf, rangeWish } from '../../../src/peer/local/range-header.ts'

test('rangeWish() reads one range', () => {
  const table: readonly (readonly [string, unknown])[] = [
    ['bytes=0-0', { is: 'part', range: { start: 0, length: 1 } }],
    ['bytes=5-9', { is: 'part', range: { start: 5, length: 5 } }],
    [' bytes= 5-9 ', { is: 'part', range: { start: 5, length: 5 } }],
    ['bytes=7-', { is: 'part', range: { start: 7, length: Number.MAX_SAFE_INTEGER - 7 } }],
    ['bytes=-4', { is: 'last', length: 4 }],
  ]
  for (const [header, wish] of table) assert.deepEqual(rangeWish(header), wish)
})

test('rangeWish() refuses all else', () => {
  const bad = [
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=-0',
    'bytes=4-3',
    'bytes=a-b',
    'bytes=1-2,4-5',
    'bytes=1',
    'octets=1-2',
    'bytes=9999999999999999-',
    'bytes=0-9999999999999999',
    'bytes=99999999999999999-',
    'bytes=+1-2',
  ]
  for (const header of bad) assert.throws(() => rangeWish(header), /Range header/, header)
})

test('lastOf() is cut at the beginning of the content', () => {
  assert.deepEqual(lastOf(3, 10), { start: 7, length: 3 })
  assert.deepEqual(lastOf(30, 10), { start: 0, length: 10 })
  assert.throws(() => lastOf(1, 0), /empty/)
})

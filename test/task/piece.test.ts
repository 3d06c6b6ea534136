import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import {
  geometry,
  numbersIn,
  overlap,
  pieceAt,
  pieceCountMax,
  pieceLengthFor,
} from '../../src/task/piece.ts'

const mib = 1024 * 1024

// Break points of the rule of the real client.
const lengths: readonly (readonly [contentLength: number, pieceLength: number])[] = [
  [0, 4 * mib],
  [1, 4 * mib],
  [2_097_152_499, 4 * mib],
  [2_097_152_500, 8 * mib],
  [4_194_304_499, 8 * mib],
  [4_194_304_500, 16 * mib],
  [8_388_608_499, 16 * mib],
  [8_388_608_500, 32 * mib],
  [16_777_216_499, 32 * mib],
  [16_777_216_500, 64 * mib],
  [2 ** 45, 64 * mib],
]
for (const [contentLength, expected] of lengths) {
  test(`pieceLengthFor(${contentLength}) is ${expected / mib} MiB`, () => {
    assert.equal(pieceLengthFor(contentLength), expected)
  })
}

// What the real client asks for: piece length, content length, range; count, numbers, last offset, last length.
const wanted = [
  [1000, 1, undefined, [0], 0, 1],
  [1000, 5000, undefined, [0, 1, 2, 3, 4], 4000, 1000],
  [5000, 1000, undefined, [0], 0, 1000],
  [10, 101, undefined, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 100, 1],
  [1000, 5000, { start: 1500, length: 2000 }, [1, 2, 3], 3000, 1000],
  [1000, 5000, { start: 0, length: 1 }, [0], 0, 1000],
] as const
for (const [pieceLength, contentLength, range, numbers, offset, length] of wanted) {
  test(`numbersIn() of ${contentLength} bytes in pieces of ${pieceLength}, range ${range?.start}+${range?.length}`, () => {
    const cut = geometry(contentLength, pieceLength)
    const found = numbersIn(cut, range)
    assert.deepEqual(found, numbers)
    assert.deepEqual(pieceAt(cut, found.at(-1) ?? -1), { number: found.at(-1), offset, length })
  })
}

// Parts of the piece at 1 with 4 bytes, as the real client reads them.
const parts = [
  [
    { start: 1, length: 4 },
    { start: 1, length: 4 },
  ],
  [
    { start: 2, length: 1 },
    { start: 2, length: 1 },
  ],
  [
    { start: 1, length: 1 },
    { start: 1, length: 1 },
  ],
  [
    { start: 4, length: 1 },
    { start: 4, length: 1 },
  ],
  [
    { start: 0, length: 2 },
    { start: 1, length: 1 },
  ],
  [
    { start: 4, length: 3 },
    { start: 4, length: 1 },
  ],
  [{ start: 5, length: 3 }, undefined],
  [{ start: 0, length: 1 }, undefined],
] as const
for (const [range, expected] of parts) {
  test(`overlap() of 1+4 with ${range.start}+${range.length}`, () => {
    assert.deepEqual(overlap({ number: 0, offset: 1, length: 4 }, range), expected)
  })
}

test('geometry() cuts content without gap or overlap', () => {
  fc.assert(
    fc.property(fc.nat(5000), fc.integer({ min: 1, max: 700 }), (contentLength, pieceLength) => {
      const cut = geometry(contentLength, pieceLength)
      let end = 0
      for (const number of numbersIn(cut)) {
        const piece = pieceAt(cut, number)
        assert.equal(piece.offset, end)
        assert.ok(piece.length > 0 && piece.length <= pieceLength)
        end += piece.length
      }
      assert.equal(end, contentLength)
    }),
  )
})

test('geometry() refuses figures that are no lengths, and too many pieces', () => {
  for (const length of [-1, 0.5, Number.NaN, 2 ** 53]) {
    assert.throws(() => geometry(length), RangeError)
  }
  for (const length of [0, -1, 0.5]) assert.throws(() => geometry(10, length), RangeError)
  assert.throws(() => geometry(pieceCountMax + 1, 1), RangeError)
  assert.equal(geometry(pieceCountMax, 1).pieceCount, pieceCountMax)
})

test('pieceAt() refuses numbers that no piece has', () => {
  const cut = geometry(100, 10)
  for (const number of [-1, 10, 0.5, Number.NaN]) {
    assert.throws(() => pieceAt(cut, number), RangeError)
  }
})

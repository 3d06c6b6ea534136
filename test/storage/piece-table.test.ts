import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type KeptPiece, PieceTable } from '../../src/storage/piece-table.ts'
import { geometry, pieceAt } from '../../src/task/piece.ts'

const pieceLength = 1000
const pieces: fc.Arbitrary<KeptPiece> = fc.record(
  {
    crc: fc.integer({ min: 0, max: 0xffff_ffff }),
    xxh64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    parentId: fc.constantFrom('', 'one', 'two'),
    createdAt: fc.integer({ min: 0, max: 2 ** 45 }),
  },
  { noNullPrototype: true },
)
const steps = fc.array(
  fc.tuple(
    fc.constantFrom('add' as const, 'add' as const, 'delete' as const, 'clear' as const),
    fc.nat(40),
    pieces,
  ),
)

test('PieceTable keeps what a map of pieces would keep, of few and of many', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), steps, (count, list) => {
      const cut = geometry(count * pieceLength - 1, pieceLength)
      const table = new PieceTable(cut)
      const model = new Map<number, KeptPiece>()
      for (const [what, any, piece] of list) {
        const number = any % count
        if (what === 'add') {
          assert.equal(table.add(number, piece), !model.has(number))
          if (!model.has(number)) model.set(number, piece)
        } else if (what === 'delete') {
          assert.equal(table.delete(number), model.delete(number))
        } else {
          assert.deepEqual([...table.clear()], sorted(model))
          model.clear()
        }
      }
      assert.deepEqual([...table.numbers()], sorted(model))
      for (let number = 0; number < count; number++) {
        assert.deepEqual(table.get(number), model.get(number))
        const crc = model.get(number)?.crc
        assert.equal(table.digestOf(number), crc === undefined ? undefined : `crc32:${crc}`)
      }
      const bytes = sorted(model).reduce((sum, number) => sum + pieceAt(cut, number).length, 0)
      assert.equal(table.bytes, bytes)
      assert.equal(table.full, model.size === count)
    }),
  )
})

function sorted(model: ReadonlyMap<number, KeptPiece>): number[] {
  return [...model.keys()].toSorted((one, other) => one - other)
}

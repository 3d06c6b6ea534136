import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Filling } from '../../../src/transport/tcp/filling.ts'
import { contentOf } from '../piece-shelf.ts'
import { PieceSlot, SlowSlot } from '../piece-slot.ts'

describe('Filling', () => {
  it('brings every byte to its place, whatever the slot and the network do', async () => {
    const lengths = fc.integer({ min: 1, max: 200_000 })
    const slabs = fc.integer({ min: 1, max: 70_000 })
    const reads = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 20 })
    const pauses = fc.array(fc.boolean(), { minLength: 1, maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(lengths, slabs, reads, pauses, async (length, slab, counts, full) => {
        const content = contentOf(length)
        let turn = 0
        const slabLength = Math.max(slab, Math.ceil(length / 50))
        const slot = new SlowSlot(
          { number: 0, offset: 0, length },
          slabLength,
          () => full[turn++ % full.length] === true,
        )
        const filling = new Filling(slot, length)
        let came = 0
        let mayRead = filling.advance(0)
        // The place that was named last, as the socket would keep it.
        let named = filling.target
        for (let step = 0; !filling.complete; step++) {
          assert.ok(filling.target.length <= length - came, 'more is asked for than is missing')
          if (!mayRead) {
            await slot.drained()
            mayRead = filling.advance(0)
            if (came < length) assert.ok(sameMemory(filling.target, named), 'the place changed')
            continue
          }
          const count = Math.min(named.length, counts[step % counts.length] ?? 1)
          named.set(content.subarray(came, came + count))
          came += count
          mayRead = filling.advance(count)
          named = filling.target
        }
        assert.equal(came, length)
        assert.ok(content.equals(slot.bytes))
      }),
      { numRuns: 300 },
    )
  })

  it('names the memory of the slot itself', () => {
    const slot = new PieceSlot({ number: 0, offset: 0, length: 100 })
    const filling = new Filling(slot, 100)
    filling.advance(0)
    assert.ok(sameMemory(filling.target, slot.bytes))
    filling.advance(30)
    assert.ok(sameMemory(filling.target, slot.bytes.subarray(30)))
    filling.advance(70)
    assert.equal(filling.complete, true)
    assert.equal(filling.target.length, 0)
  })

  it('does not believe a slot that has no space and is not full', () => {
    const slot = new PieceSlot({ number: 0, offset: 0, length: 100 }, new Uint8Array(50))
    const filling = new Filling(slot, 100)
    filling.advance(0)
    assert.throws(() => filling.advance(50), RangeError)
  })
})

function sameMemory(one: Uint8Array, other: Uint8Array): boolean {
  return (
    one.buffer === other.buffer &&
    one.byteOffset === other.byteOffset &&
    one.length === other.length
  )
}

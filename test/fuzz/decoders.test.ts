import assert from 'node:assert/strict'
import { describe, it, test } from 'node:test'
import fc from 'fast-check'
import { Random } from '../crash/random.ts'
import { inputBytesMax, mutated } from './mutation.ts'
import { largestAllocation, run } from './target.ts'
import { targets } from './targets.ts'

/** The long version is `npm run test:fuzz`. A failure prints the seed and the path of the counterexample. */
const parameters = { seed: 20_261_122, numRuns: 100 }
const seeds = fc.integer({ min: 0, max: 0xffff_ffff })

describe('Hostile bytes', () => {
  for (const target of targets) {
    it(`${target.name}: valid input passes, and what was changed in it breaks nothing`, () => {
      fc.assert(
        fc.property(seeds, (seed) => {
          const random = new Random(seed)
          const valid = target.valid(random)
          run(target, valid, random)
          run(target, mutated(valid, random), random)
        }),
        parameters,
      )
    })

    it(`${target.name}: any bytes break nothing`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), seeds, (bytes, seed) => {
          run(target, bytes, new Random(seed))
        }),
        parameters,
      )
    })

    it(`${target.name}: long repetitions take no time worth speaking of`, () => {
      for (const text of ['/', '=', '&', '%', ':', '0', '9', ' ', '{"is":', '\u00ff', '../']) {
        const bytes = Buffer.from(text.repeat(inputBytesMax / text.length))
        run(target, bytes, new Random(1))
        run(
          target,
          Buffer.concat([target.valid(new Random(2)), bytes, Buffer.from('!')]),
          new Random(1),
        )
      }
    })
  }
})

test('largestAllocation() sees memory that is made of a length, however it is made', () => {
  const ways: readonly (() => unknown)[] = [
    () => Buffer.alloc(1 << 20),
    () => Buffer.allocUnsafe(1 << 20),
    () => new Uint8Array(1 << 20),
    () => new ArrayBuffer(1 << 20),
  ]
  for (const way of ways) assert.equal(largestAllocation(way), 1 << 20)
  assert.equal(
    largestAllocation(() => 'nothing'),
    0,
  )
  assert.ok(new Uint8Array(1) instanceof Uint8Array)
})

test('run() fails for a decoder that believes a length', () => {
  const gullible = {
    name: 'gullible',
    valid: () => new Uint8Array(4),
    check: (bytes: Uint8Array) => void Buffer.alloc(Buffer.from(bytes).readUInt32BE(0) % 2 ** 26),
  }
  assert.throws(
    () => run(gullible, Uint8Array.of(3, 255, 255, 255), new Random(1)),
    /Asked for 67108863 bytes at once/,
  )
})

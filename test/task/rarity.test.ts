import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { type Holder, Rarity } from '../../src/task/rarity.ts'
import { Bitmap } from '../../src/util/bitmap.ts'
import { seeded } from '../sim/clock.ts'

const pieceCount = 9

function holder(): Holder {
  return { haves: new Bitmap(pieceCount), useful: 0, usefulAt: [] }
}

const step = fc.record({
  do: fc.constantFrom('wait', 'unwait', 'have', 'lose', 'admit', 'dismiss'),
  holder: fc.nat(3),
  number: fc.nat(pieceCount - 1),
})

test('Rarity agrees with counting everything anew', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.nat(), (steps, seed) => {
      const rarity = new Rarity(pieceCount)
      const random = seeded(seed)
      const holders = Array.from({ length: 4 }, holder)
      const admitted = new Set<Holder>()
      const waiting = new Set<number>()
      for (const { do: what, holder: at, number } of steps) {
        const one = holders[at]
        if (one === undefined) continue
        if (what === 'wait') {
          rarity.wait(number)
          waiting.add(number)
        } else if (what === 'unwait') {
          rarity.unwait(number)
          waiting.delete(number)
        } else if (what === 'have' && one.haves.add(number)) {
          if (admitted.has(one)) rarity.gained(one, number)
        } else if (what === 'lose' && one.haves.delete(number)) {
          if (admitted.has(one)) rarity.lost(one, number)
        } else if (what === 'admit' && !admitted.has(one)) {
          rarity.admit(one)
          admitted.add(one)
        } else if (what === 'dismiss') {
          rarity.dismiss(one)
          admitted.delete(one)
        }
        checkAll(rarity, admitted, waiting, random)
      }
    }),
  )
})

function checkAll(
  rarity: Rarity,
  admitted: ReadonlySet<Holder>,
  waiting: ReadonlySet<number>,
  random: () => number,
): void {
  const level = (number: number): number =>
    [...admitted].filter(({ haves }) => haves.has(number)).length
  assert.equal(rarity.waiting, waiting.size)
  const unreachable = [...waiting].filter((number) => level(number) === 0)
  assert.equal(rarity.unreachable, unreachable.length)
  for (let number = 0; number < pieceCount; number++) {
    assert.equal(rarity.level(number), level(number))
    assert.equal(rarity.isWaiting(number), waiting.has(number))
  }
  for (const { haves, useful, usefulAt } of admitted) {
    const mine = [...waiting].filter((number) => haves.has(number))
    assert.equal(useful, mine.length)
    for (const [at, count] of usefulAt.entries()) {
      assert.equal(count, mine.filter((number) => level(number) === at).length)
    }
  }
  const first = unreachable.length === 0 ? undefined : Math.min(...unreachable)
  assert.equal(rarity.firstUnreachable(), first)
  const odd = (number: number): boolean => number % 2 === 1
  assert.equal(rarity.someUnreachable(odd), unreachable.some(odd))
  // Any part of the holders may be free.
  const free = [...admitted].filter(() => random() < 0.6)
  const possible = [...waiting].filter((number) => free.some(({ haves }) => haves.has(number)))
  const picked = rarity.pick(free, random)
  const rarest = Math.min(...possible.map(level))
  if (picked === undefined) assert.deepEqual(possible, [])
  else assert.ok(possible.includes(picked) && level(picked) === rarest)
}

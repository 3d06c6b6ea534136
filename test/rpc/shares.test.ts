import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Shares } from '../../src/rpc/shares.ts'

test('Shares.takeExcess() is the newest item of whoever has most, for one who would have less', () => {
  const shares = new Shares<string>()
  assert.equal(shares.takeExcess('a'), undefined)
  for (const item of ['a1', 'a2', 'a3']) shares.add('a', item)
  assert.equal(shares.takeExcess('a'), undefined)
  assert.equal(shares.takeExcess('b'), 'a3')
  shares.add('b', 'b1')
  // Two against one and another one is fair.
  assert.equal(shares.takeExcess('b'), undefined)
  assert.equal(shares.takeExcess('c'), 'a2')
  shares.delete('a', 'never there')
  shares.delete('nobody', 'a1')
  assert.equal(shares.takeExcess('c'), undefined)
})

test('Shares keeps a place for everybody who asks, whatever the others hold', () => {
  const owner = fc.constantFrom('a', 'b', 'c', 'd')
  const asked = fc.array(owner, { minLength: 1, maxLength: 200 })
  fc.assert(
    fc.property(asked, fc.integer({ min: 4, max: 12 }), (newcomers, max) => {
      const shares = new Shares<number>()
      const held = new Map<number, string>()
      const countOf = (one: string): number => [...held.values()].filter((o) => o === one).length
      for (const [item, newcomer] of newcomers.entries()) {
        if (held.size === max) {
          const victim = shares.takeExcess(newcomer)
          const most = Math.max(...['a', 'b', 'c', 'd'].map(countOf))
          assert.equal(victim !== undefined, most > countOf(newcomer) + 1)
          if (victim === undefined) continue
          assert.equal(countOf(held.get(victim) ?? ''), most)
          held.delete(victim)
        }
        shares.add(newcomer, item)
        held.set(item, newcomer)
      }
      // With as many places as there are owners, nobody who asked last is without one.
      assert.ok(countOf(newcomers.at(-1) ?? '') > 0)
    }),
  )
})

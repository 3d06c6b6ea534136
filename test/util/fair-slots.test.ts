import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FairSlots } from '../../src/util/fair-slots.ts'
import { turns } from '../transport/until.ts'

const never = new AbortController().signal

/** Asks for a place, and writes down the name when it comes. */
function asks(
  places: FairSlots,
  owner: string | undefined,
  order: string[],
  name: string,
): Promise<Disposable> {
  return places.take(never, owner).then((place) => (order.push(name), place))
}

describe('FairSlots.take()', () => {
  it('gives one owner all places but a quarter, and the rest to others', async () => {
    const places = new FairSlots(8)
    const order: string[] = []
    for (let at = 0; at < 8; at++) void asks(places, 'a', order, 'a')
    await turns(1)
    assert.deepEqual([places.taken, places.waiting], [6, 2])
    void asks(places, 'b', order, 'b')
    void asks(places, 'c', order, 'c')
    void asks(places, 'd', order, 'd')
    await turns(1)
    assert.deepEqual([order.slice(6), places.taken, places.waiting], [['b', 'c'], 8, 3])
  })

  it('gives the next place to the owner that has fewest, of equals to the one whose turn was longest ago', async () => {
    const places = new FairSlots(4)
    const order: string[] = []
    const held = [await places.take(never, 'a'), await places.take(never, 'a')]
    held.push(await places.take(never, 'b'), await places.take(never, 'b'))
    for (const name of ['a1', 'a2', 'b1', 'c1', 'c2', 'c3']) {
      void asks(places, name.charAt(0), order, name)
    }
    for (const place of held) {
      place[Symbol.dispose]()
      place[Symbol.dispose]()
    }
    await turns(1)
    assert.deepEqual(order, ['c1', 'a1', 'b1', 'c2'])
  })

  it('gives all places to callers without an owner, and the only one to anybody', async () => {
    const places = new FairSlots(2)
    await places.take(never)
    await places.take(never)
    assert.equal(places.taken, 2)
    const one = new FairSlots(1)
    using _ = await one.take(never, 'a')
    assert.equal(one.taken, 1)
  })

  it('rejects with the reason and leaves the queue at once', async () => {
    const places = new FairSlots(1)
    const place = await places.take(never, 'a')
    const abort = new AbortController()
    const waiting = places.take(abort.signal, 'b')
    await turns(1)
    abort.abort('gone')
    assert.equal(places.waiting, 0)
    await assert.rejects(waiting, (error) => error === 'gone')
    place[Symbol.dispose]()
    assert.equal(places.taken, 0)
    await assert.rejects(places.take(abort.signal, 'b'), (error) => error === 'gone')
  })

  it('leaves no place empty that somebody may have, and gives out no more than there are', async () => {
    const step = fc.oneof(
      fc.record({ is: fc.constant('take'), owner: fc.constantFrom('a', 'b', 'c', undefined) }),
      fc.record({ is: fc.constant('give'), at: fc.nat(100) }),
      fc.record({ is: fc.constant('leave'), at: fc.nat(100) }),
      fc.record({ is: fc.constant('count'), count: fc.integer({ min: 1, max: 9 }) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const places = new FairSlots(4)
        const held: { readonly owner: string | undefined; readonly place: Disposable }[] = []
        const waits = new Map<AbortController, string | undefined>()
        for (const each of steps) {
          if ('owner' in each) {
            const { owner } = each
            const abort = new AbortController()
            waits.set(abort, owner)
            const taken = places.take(abort.signal, owner)
            const keep = (place: Disposable): void => {
              waits.delete(abort)
              held.push({ owner, place })
            }
            taken.then(keep, () => waits.delete(abort))
          } else if ('count' in each) places.setCount(each.count)
          else if (each.is === 'give') held.splice(each.at, 1)[0]?.place[Symbol.dispose]()
          else [...waits.keys()][each.at]?.abort()
          await turns(1)
          assert.deepEqual([places.taken, places.waiting], [held.length, waits.size])
          const most = places.count - Math.ceil(places.count / 4)
          const idle = [...waits.values()].filter((owner) => {
            const has = held.filter((one) => one.owner === owner).length
            return owner === undefined || places.count === 1 || has < most
          })
          if (held.length < places.count) assert.equal(idle.length, 0)
        }
        for (const { place } of held) place[Symbol.dispose]()
      }),
      { numRuns: 200 },
    )
  })
})

describe('FairSlots.setCount()', () => {
  it('wakes as many as there are places more, in order', async () => {
    const places = new FairSlots(1)
    await places.take(never)
    const order: string[] = []
    for (const name of ['1', '2', '3']) void asks(places, undefined, order, name)
    places.setCount(3)
    await turns(1)
    assert.deepEqual([order, places.taken, places.waiting, places.count], [['1', '2'], 3, 1, 3])
  })

  it('takes no place away, and gives none out until there are as few as there may be', async () => {
    const places = new FairSlots(3)
    const held = [await places.take(never), await places.take(never), await places.take(never)]
    places.setCount(1)
    const order: string[] = []
    void asks(places, undefined, order, 'next')
    for (const [at, place] of held.entries()) {
      await turns(1)
      assert.deepEqual([places.taken, order.length], [3 - at, 0])
      place[Symbol.dispose]()
    }
    await turns(1)
    assert.deepEqual([places.taken, order], [1, ['next']])
  })

  it('needs at least one place', () => {
    for (const count of [0, -1, 1.5]) assert.throws(() => new FairSlots(count), RangeError)
  })
})

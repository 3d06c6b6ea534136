import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Slots } from '../../src/util/slots.ts'
import { turns } from '../transport/until.ts'

const never = new AbortController().signal

describe('Slots.take()', () => {
  it('gives out as many places as there are, first come first served', async () => {
    const slots = new Slots(2)
    const [first, second] = [await slots.take(never), await slots.take(never)]
    const order: string[] = []
    const third = slots.take(never).then((place) => (order.push('third'), place))
    const fourth = slots.take(never).then((place) => (order.push('fourth'), place))
    await turns(1)
    assert.deepEqual([slots.taken, slots.waiting, order.length], [2, 2, 0])
    second[Symbol.dispose]()
    second[Symbol.dispose]()
    await third
    await turns(1)
    assert.deepEqual(order, ['third'])
    first[Symbol.dispose]()
    ;(await fourth)[Symbol.dispose]()
    ;(await third)[Symbol.dispose]()
    assert.deepEqual([slots.taken, slots.waiting, order], [0, 0, ['third', 'fourth']])
  })

  it('lets nobody come in between a place that is given back and the first in the queue', async () => {
    const slots = new Slots(1)
    const first = await slots.take(never)
    const second = slots.take(never)
    first[Symbol.dispose]()
    const third = slots.take(never)
    await second
    assert.equal(slots.waiting, 1)
    ;(await second)[Symbol.dispose]()
    await third
  })

  it('rejects with the reason and leaves the queue at once', async () => {
    const slots = new Slots(1)
    const place = await slots.take(never)
    const abort = new AbortController()
    const waiting = slots.take(abort.signal)
    await turns(1)
    abort.abort('gone')
    assert.equal(slots.waiting, 0)
    await assert.rejects(waiting, (error) => error === 'gone')
    place[Symbol.dispose]()
    assert.equal(slots.taken, 0)
    await assert.rejects(slots.take(abort.signal), (error) => error === 'gone')
  })

  it('needs at least one place', () => {
    for (const count of [0, -1, 1.5]) assert.throws(() => new Slots(count), RangeError)
  })
})

describe('Slots.setCount()', () => {
  it('wakes as many as there are places more, in order', async () => {
    const slots = new Slots(1)
    await slots.take(never)
    const order: number[] = []
    for (const number of [1, 2, 3]) void slots.take(never).then(() => order.push(number))
    slots.setCount(3)
    await turns(1)
    assert.deepEqual([order, slots.taken, slots.waiting, slots.count], [[1, 2], 3, 1, 3])
  })

  it('takes no place away, and gives none out until there are as few as there may be', async () => {
    const slots = new Slots(3)
    const places = [await slots.take(never), await slots.take(never), await slots.take(never)]
    slots.setCount(1)
    let went = false
    const waiting = slots.take(never).then((place) => ((went = true), place))
    for (const [at, place] of places.entries()) {
      await turns(1)
      assert.deepEqual([slots.taken, went], [3 - at, false])
      place[Symbol.dispose]()
    }
    await waiting
    assert.deepEqual([slots.taken, slots.waiting], [1, 0])
    assert.throws(() => slots.setCount(0), RangeError)
  })
})

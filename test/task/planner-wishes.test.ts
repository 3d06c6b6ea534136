import assert from 'node:assert/strict'
import test from 'node:test'
import { begun, drawn } from './drawing.ts'

test('Planner.want() grows the wanted set', () => {
  const planner = drawn({ me: '.--', a: '###' })
  assert.deepEqual(begun(planner), ['0 a'])
  assert.equal(planner.want(0), false)
  assert.equal(planner.want(2), true)
  assert.equal(planner.lastWanted, 2)
  assert.deepEqual(begun(planner), ['2 a'])
})

test('Planner.unwant() takes pieces back and names those whose jobs are to be stopped', () => {
  const planner = drawn({ me: '...', a: '##.' }, { parentInFlightMax: 1 })
  const plan = planner.next()
  assert.ok(plan)
  const { number } = plan.piece
  assert.deepEqual(
    [0, 1, 2].map((at) => planner.unwant(at)),
    [number === 0, number === 1, false],
  )
  assert.equal(planner.missing, 0)
  planner.onFailed(number, false)
  assert.deepEqual(planner.counts, { waiting: 0, unreachable: 0, fetching: 0, done: 0 })
  assert.equal(planner.next(), undefined)
})

test('Planner.want() of a piece whose job is being stopped waits for the end of that job', () => {
  const planner = drawn({ me: '.', a: '#', b: '#' })
  planner.next()
  planner.unwant(0)
  assert.equal(planner.want(0), true)
  assert.equal(planner.next(), undefined)
  assert.equal(planner.missing, 1)
  planner.onFailed(0, false)
  assert.equal(planner.next()?.piece.number, 0)
})

test('Planner.onDone() keeps a piece that nobody wants any more', () => {
  const planner = drawn({ me: '.', a: '#' })
  planner.next()
  planner.unwant(0)
  planner.onDone(0, 1)
  assert.equal(planner.counts.done, 1)
  assert.equal(planner.want(0), false)
})

test('Planner.onKept() ends the wish, but leaves a piece in flight to its job', () => {
  const planner = drawn({ me: '..', a: '#.' })
  planner.next()
  planner.onKept(0)
  planner.onKept(1)
  assert.deepEqual(planner.counts, { waiting: 0, unreachable: 0, fetching: 1, done: 1 })
  planner.onDone(0, 1)
  assert.equal(planner.missing, 0)
})

test('Planner.missingNumbers() leaves out what is kept, not wanted, told or refused', () => {
  const planner = drawn({ me: 'k...-.', a: '##....' })
  planner.urge([1])
  planner.next()
  assert.deepEqual(planner.missingNumbers(), [1, 2, 3, 5])
  assert.deepEqual(planner.missingNumbers('a'), [2, 3, 5])
  planner.onFailed(1, true)
  assert.deepEqual(planner.missingNumbers('a'), [2, 3, 5])
  assert.deepEqual(planner.missingNumbers('stranger'), [1, 2, 3, 5])
})

test('Planner.onHave() is news when the piece is missing and was not told', () => {
  const planner = drawn({ me: 'k.-', a: '...' })
  assert.deepEqual(
    [0, 1, 1, 2].map((number) => planner.onHave('a', number)),
    [false, true, false, false],
  )
  assert.equal(planner.onHave('stranger', 1), false)
})

test('Planner.wantMissing() wants a piece again that is here no more', () => {
  const planner = drawn({ me: '.', a: '#' })
  planner.onKept(0)
  assert.equal(planner.want(0), false)
  assert.equal(planner.missing, 0)
  assert.equal(planner.wantMissing(0), true)
  assert.equal(planner.missing, 1)
  assert.equal(planner.counts.done, 0)
  assert.equal(planner.wantMissing(0), false)
  assert.deepEqual(begun(planner), ['0 a'])
})

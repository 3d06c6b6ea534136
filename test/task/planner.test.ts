import assert from 'node:assert/strict'
import test from 'node:test'
import { originId } from '../../src/task/plan.ts'
import { begun, drawn, nextOf, tell } from './drawing.ts'

test('Planner.next() has nothing to do without parents, or when all is kept', () => {
  assert.equal(drawn({ me: '...' }).next(), undefined)
  assert.equal(drawn({ me: 'kkk', a: '###' }).next(), undefined)
})

test('Planner.next() gives each piece once', () => {
  const planner = drawn({ me: '......', a: '######', b: '######' })
  const numbers = begun(planner).map((plan) => plan[0])
  assert.deepEqual(numbers.sort(), ['0', '1', '2', '3', '4', '5'])
  assert.deepEqual(planner.counts, { waiting: 0, unreachable: 0, fetching: 6, done: 0 })
})

test('Planner.next() gives where the piece lies', () => {
  assert.deepEqual(drawn({ me: '-.', a: '.#' }).next(), {
    piece: { number: 1, offset: 10, length: 10 },
    parent: 'a',
  })
})

test('Planner.next() asks only who has the piece, and only for what is wanted', () => {
  const planner = drawn({
    me: 'k..-',
    a: '##.#',
    b: '#.##',
  })
  assert.deepEqual(begun(planner).sort(), ['1 a', '2 b'])
})

test('Planner.next() takes the rarest piece first', () => {
  const planner = drawn({
    me: '.....',
    a: '#####',
    b: '##.##',
    c: '##..#',
  })
  assert.deepEqual(
    [planner.next(), planner.next()].map((plan) => plan?.piece.number),
    [2, 3],
  )
})

test('Planner.next() takes one of equals by chance', () => {
  const first = new Set<number>()
  for (let seed = 0; seed < 200; seed++) {
    const plan = drawn({ me: '........', a: '########' }, {}, seed).next()
    if (plan !== undefined) first.add(plan.piece.number)
  }
  assert.equal(first.size, 8)
})

test('Planner.next() takes the least complete parent that has the piece', () => {
  const planner = drawn({
    me: '......',
    a: '######',
    b: '#..###',
    c: '#....#',
  })
  planner.urge([0, 3, 1])
  assert.equal(nextOf(planner), '0 c')
  assert.equal(nextOf(planner), '3 b')
  assert.equal(nextOf(planner), '1 a')
})

test('Planner.next() counts only missing pieces when it compares parents', () => {
  // b has more in all; of what is missing it has less.
  const planner = drawn({
    me: 'kkkk...',
    a: '....###',
    b: '######.',
  })
  planner.urge([4])
  assert.equal(nextOf(planner), '4 b')
})

test('Planner.next() takes the less busy of equal parents, then the faster', () => {
  const planner = drawn({ me: '....', a: '####', b: '####' })
  const first = planner.next()
  const second = planner.next()
  assert.notEqual(first?.parent, second?.parent)
  // Both are free again; b was ten times as fast.
  for (const plan of [first, second]) {
    if (plan !== undefined) planner.onDone(plan.piece.number, plan.parent === 'b' ? 10 : 100)
  }
  assert.equal(planner.next()?.parent, 'b')
})

test('Planner.next() asks nobody for more than its limit', () => {
  const planner = drawn({ me: '........', a: '########', b: '####....' }, { parentInFlightMax: 3 })
  const plans = begun(planner)
  assert.equal(plans.filter((plan) => plan.endsWith('a')).length, 3)
  assert.equal(plans.filter((plan) => plan.endsWith('b')).length, 3)
  const [number = ''] = plans
  planner.onDone(Number(number.split(' ')[0]), 1)
  assert.equal(begun(planner).length, 1)
})

test('Planner.next() spares a better parent while a far less complete one delivers', () => {
  const planner = drawn({ me: '................', seed: '################' })
  tell(planner, 'seed', '')
  planner.onParents(['leech'])
  tell(planner, 'leech', '###.............')
  planner.urge([0])
  assert.equal(nextOf(planner), '0 leech')
  planner.onDone(0, 10)
  const plans = begun(planner)
  assert.deepEqual(plans.filter((plan) => plan.endsWith('leech')).sort(), ['1 leech', '2 leech'])
  assert.equal(plans.filter((plan) => plan.endsWith('seed')).length, 1)
  // What a reader waits for is not held back.
  planner.urge([15])
  assert.equal(nextOf(planner), '15 seed')
})

test('Planner.next() stops sparing when the less complete parent has not delivered lately', () => {
  const planner = drawn({
    me: '................',
    seed: '################',
    leech: '#...............',
  })
  planner.urge([0])
  assert.equal(nextOf(planner), '0 leech')
  planner.onDone(0, 10)
  for (let count = 0; count < 8; count++) {
    const [plan = '', ...more] = begun(planner)
    assert.deepEqual(more, [], `after ${count} pieces from the seed`)
    planner.onDone(Number(plan.split(' ')[0]), 10)
  }
  assert.equal(begun(planner).length, 4)
})

test('Planner.urge() puts pieces first, in the order of asking', () => {
  const planner = drawn({ me: '......', a: '######', b: '.#####' })
  planner.urge([4, 2])
  planner.urge([5])
  assert.deepEqual(
    [planner.next(), planner.next(), planner.next()].map((plan) => plan?.piece.number),
    [4, 2, 5],
  )
  assert.equal(planner.next()?.piece.number, 0)
})

test('Planner.urge() passes over what nobody has, and comes back to it', () => {
  const planner = drawn({ me: '....', a: '.###' })
  planner.urge([0, 3])
  assert.equal(nextOf(planner), '3 a')
  planner.onHave('a', 0)
  assert.equal(nextOf(planner), '0 a')
})

test('Planner.urge() survives a failure: the piece is first again', () => {
  const planner = drawn({ me: '....', a: '####', b: '####' })
  planner.urge([3])
  const plan = planner.next()
  assert.equal(plan?.piece.number, 3)
  planner.onFailed(3, false)
  assert.equal(planner.next()?.piece.number, 3)
})

test('Planner.urge() of very many pieces costs a bounded look at each', () => {
  // 64 urged pieces that nobody has are looked at; the one behind them takes its turn by rarity, like any other.
  const nobody = '.'.repeat(64)
  const planner = drawn({ me: `${nobody}..`, a: `${nobody}##`, b: `${nobody}#.` })
  planner.urge(Array.from({ length: 65 }, (_, number) => number))
  assert.equal(nextOf(planner), '65 a')
  assert.equal(nextOf(planner), '64 b')
})

test('Planner.urge() ignores what is not wanted', () => {
  const planner = drawn({ me: 'k.-', a: '###' })
  planner.urge([0, 2, 99])
  assert.equal(nextOf(planner), '1 a')
  assert.equal(planner.next(), undefined)
})

test('Planner.onFailed() gives the piece back, to the same parent unless it refused', () => {
  const planner = drawn({ me: '.', a: '#' })
  assert.equal(nextOf(planner), '0 a')
  planner.onFailed(0, false)
  assert.equal(nextOf(planner), '0 a')
  planner.onFailed(0, true)
  assert.equal(planner.next(), undefined)
  assert.equal(planner.counts.unreachable, 1)
  // Not even when it says again that it has the piece.
  assert.equal(planner.onHave('a', 0), false)
  assert.equal(planner.next(), undefined)
})

test('Planner.onFailed() with a refusal leaves the piece to others', () => {
  const planner = drawn({ me: '..', a: '##', b: '##' }, { parentInFlightMax: 1 })
  planner.urge([0])
  const first = planner.next()
  assert.ok(first)
  planner.onFailed(0, true)
  const other = first.parent === 'a' ? 'b' : 'a'
  assert.equal(nextOf(planner), `0 ${other}`)
  assert.equal(nextOf(planner), `1 ${first.parent}`)
})

test('Planner.onParentPaused() leaves its pieces to others until it is resumed', () => {
  const planner = drawn({ me: '...', a: '###', b: '#..' })
  planner.onParentPaused('a')
  assert.deepEqual(begun(planner), ['0 b'])
  assert.equal(planner.counts.unreachable, 2)
  planner.onHave('a', 0)
  planner.onParentResumed('a')
  // For one piece at first.
  const [plan, ...more] = begun(planner)
  assert.ok(plan === '1 a' || plan === '2 a')
  assert.deepEqual(more, [])
  planner.onDone(Number(plan[0]), 1)
  assert.equal(begun(planner).length, 1)
})

test('Planner.hasOrphans() sees pieces that nobody will have', () => {
  const planner = drawn({ me: 'k...-', a: '##...', b: '#.##.' })
  assert.equal(planner.hasOrphans([]), false)
  planner.onParentPaused('b')
  assert.equal(planner.hasOrphans([]), true)
  assert.equal(planner.hasOrphans(['b']), false)
  planner.onParentPaused('a')
  assert.equal(planner.hasOrphans(['b']), true)
  assert.equal(planner.hasOrphans(['a', 'b', 'stranger']), false)
})

test('Planner.onParentGone() forgets a parent; a piece in flight is given again only when its job has ended', () => {
  const planner = drawn({ me: '.', a: '#', b: '#' })
  const plan = planner.next()
  assert.ok(plan)
  planner.onParentGone(plan.parent)
  assert.equal(planner.load(plan.parent), undefined)
  assert.equal(planner.next(), undefined)
  planner.onFailed(0, false)
  assert.equal(nextOf(planner), plan.parent === 'a' ? '0 b' : '0 a')
})

test('Planner.onParents() takes a parent again that was gone, with a clean sheet', () => {
  const planner = drawn({ me: '...', a: '###' }, { parentInFlightMax: 1 })
  const plan = planner.next()
  assert.ok(plan)
  planner.onParentGone('a')
  planner.onParents(['a'])
  tell(planner, 'a', '###')
  // The old job does not count against the new entry, neither while it runs nor when it ends.
  assert.equal(begun(planner).length, 1)
  planner.onFailed(plan.piece.number, true)
  assert.deepEqual(planner.load('a'), { haves: 3, inFlight: 1, rate: 0 })
})

test('Planner.onParents() does not take a parent that is named like the origin', () => {
  const planner = drawn({ me: '.' })
  planner.onParents([originId])
  assert.equal(planner.onHave(originId, 0), false)
  assert.equal(planner.next(), undefined)
})

test('Planner.onOrigin() lets the origin give what no parent has, up to its limit', () => {
  const planner = drawn({ me: '......', a: '#.....' }, { originInFlightMax: 2 })
  assert.deepEqual(begun(planner), ['0 a'])
  planner.onOrigin('pieces')
  const plans = begun(planner)
  assert.equal(plans.length, 2)
  assert.ok(plans.every((plan) => plan.endsWith('origin')))
  planner.onOrigin('closed')
  planner.onDone(Number(plans[0]?.split(' ')[0]), 1)
  assert.equal(planner.next(), undefined)
})

test('Planner.onOrigin() gives the origin its pieces in order', () => {
  const planner = drawn({ me: '..k..', a: '..#.#' }, { originInFlightMax: 2 })
  planner.onOrigin('pieces')
  assert.deepEqual(begun(planner), ['0 origin', '1 origin', '4 a'])
  planner.onFailed(0, false)
  planner.onDone(1, 1)
  assert.deepEqual(begun(planner), ['0 origin', '3 origin'])
})

test('Planner.onOrigin() does not give the origin what a busy parent has', () => {
  const planner = drawn({ me: '...', a: '##.' }, { parentInFlightMax: 1 })
  planner.onOrigin('pieces')
  assert.deepEqual(
    begun(planner).map((plan) => plan.slice(2)),
    ['origin', 'a'],
  )
  // Until that parent is paused.
  planner.onParentPaused('a')
  assert.equal(begun(planner).length, 1)
})

test('Planner.claim() takes a waiting piece for the stream of the origin, and no other', () => {
  const planner = drawn({ me: 'k..-', a: '.#..' })
  planner.onOrigin('stream')
  assert.equal(nextOf(planner), '1 a')
  assert.equal(planner.next(), undefined)
  assert.deepEqual(
    [0, 1, 2, 3].map((number) => planner.claim(number)),
    [false, false, true, false],
  )
  planner.onDone(2, 1)
  assert.equal(planner.missing, 1)
})

const others: readonly (readonly [name: string, expected: boolean, row: string, pause?: string])[] =
  [
    ['nobody', false, '.'],
    ['another parent has it', true, '#'],
    ['the other is paused', false, '#', 'b'],
    ['the one asked is paused, the other is not', true, '#', 'a'],
  ]
for (const [name, expected, row, pause] of others) {
  test(`Planner.hasOther(): ${name}`, () => {
    const planner = drawn({ me: '.', a: '#', b: row }, { parentInFlightMax: 1 })
    planner.onParentPaused('b')
    assert.equal(nextOf(planner), '0 a')
    planner.onParentResumed('b')
    if (pause !== undefined) planner.onParentPaused(pause)
    assert.equal(planner.hasOther(0, 'a'), expected)
  })
}

test('Planner.hasOther() counts the origin for parents, and parents for the origin', () => {
  const planner = drawn({ me: '..', a: '#.' })
  planner.onOrigin('pieces')
  assert.equal(planner.hasOther(0, 'a'), true)
  assert.equal(planner.hasOther(1, originId), false)
  assert.equal(planner.hasOther(0, originId), true)
  planner.onOrigin('stream')
  assert.equal(planner.hasOther(0, 'a'), false)
})

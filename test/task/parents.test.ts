import assert from 'node:assert/strict'
import test from 'node:test'
import type { ErrorCode } from '../../src/errors.ts'
import { pauseMs } from '../../src/task/blame.ts'
import { Parents, parentsMax } from '../../src/task/parents.ts'
import type { Parent } from '../../src/task/ports.ts'

function parent(id: string): Parent {
  return { id, hostId: `host-${id}`, ip: '127.0.0.1', port: 4000, seed: false }
}

function fail(parents: Parents, id: string, code: ErrorCode, now: number): string {
  return parents.onFailure(id, { code, startedAt: now }, now)
}

test('Parents.add() knows new, known, revived and refused ones', () => {
  const parents = new Parents()
  assert.equal(parents.add(parent('a'), 'named'), 'new')
  assert.equal(parents.add(parent('a'), 'named'), 'known')
  for (let now = 0; now < 3; now++) fail(parents, 'a', 'PARENT_UNREACHABLE', now)
  assert.deepEqual(parents.usable(), [])
  assert.equal(parents.add(parent('a'), 'named'), 'revived')
  fail(parents, 'a', 'PARENT_PROTOCOL', 5)
  assert.equal(parents.add(parent('a'), 'named'), 'refused')
  assert.deepEqual(
    parents.all().map(({ id }) => id),
    ['a'],
  )
})

test('Parents.add() refuses a parent without a name: it would be taken for the origin', () => {
  assert.equal(new Parents().add(parent(''), 'named'), 'refused')
})

test('Parents.add() has a limit', () => {
  const parents = new Parents()
  for (let at = 0; at < parentsMax; at++)
    assert.equal(parents.add(parent(`p${at}`), 'named'), 'new')
  assert.equal(parents.add(parent('one more'), 'named'), 'refused')
  assert.equal(parents.add(parent('p0'), 'named'), 'known')
  assert.equal(parents.facts().length, parentsMax)
})

test('Parents.address() is there when the parent has told where it serves; the newest word counts', () => {
  const parents = new Parents()
  parents.add(parent('a'), 'named')
  assert.equal(parents.address('a'), undefined)
  parents.onEndpoint('a', { ip: '10.0.0.1', tcpPort: 1 })
  parents.onEndpoint('a', { ip: '10.0.0.1', tcpPort: 2 })
  assert.deepEqual(parents.address('a'), {
    parent: parent('a'),
    endpoint: { ip: '10.0.0.1', tcpPort: 2 },
  })
  assert.equal(parents.address('b'), undefined)
})

test('Parents.add() keeps those who were met apart until they are named: no hope rests on them', () => {
  const parents = new Parents()
  const ids = (list: readonly Parent[]): string[] => list.map(({ id }) => id)
  parents.add(parent('a'), 'named')
  assert.equal(parents.add(parent('b'), 'met'), 'new')
  assert.equal(parents.add(parent('c'), 'met'), 'new')
  assert.equal(parents.add(parent('a'), 'met'), 'known')
  assert.equal(parents.company, 3)
  assert.deepEqual(
    [parents.isMet('a'), parents.isMet('b'), parents.isMet('x')],
    [false, true, false],
  )
  assert.deepEqual([parents.hasHost('host-b'), parents.hasHost('host-x')], [true, false])
  fail(parents, 'c', 'PARENT_PROTOCOL', 0)
  assert.equal(parents.company, 2)
  assert.deepEqual([ids(parents.all()), ids(parents.usable())], [['a'], ['a']])
  assert.deepEqual(ids(parents.unusable()), [])
  // Nobody is patient with them, and nothing is expected of them.
  const silent = { code: 'PARENT_TIMEOUT', startedAt: 0, silence: 'slow' } as const
  for (let at = 0; at < 3; at++)
    parents.onFailure('b', { ...silent, startedAt: at * 9999 }, at * 9999)
  assert.equal(parents.state('b')?.is, 'dropped')
  assert.deepEqual(parents.resting(), [])
  assert.equal(parents.hasHost('host-b'), false)
  parents.add(parent('b'), 'named')
  assert.deepEqual(ids(parents.usable()), ['a', 'b'])
  assert.equal(parents.isMet('b'), false)
  assert.equal(parents.company, 2)
})

test('Parents.thaw() names each parent once, when its pause has ended', () => {
  const parents = new Parents()
  for (const id of ['a', 'b', 'c']) parents.add(parent(id), 'named')
  fail(parents, 'a', 'PARENT_TIMEOUT', 0)
  fail(parents, 'b', 'PARENT_TIMEOUT', 100)
  assert.equal(parents.thawAt(), pauseMs)
  assert.deepEqual(parents.resting(), ['a', 'b'])
  parents.onFailure('c', { code: 'PARENT_TIMEOUT', startedAt: 0, silence: 'silent' }, 5000)
  assert.deepEqual(parents.resting(), ['a', 'b'])
  assert.deepEqual(parents.thaw(pauseMs), ['a'])
  assert.deepEqual(parents.thaw(pauseMs), [])
  assert.equal(parents.thawAt(), pauseMs + 100)
  assert.deepEqual(parents.thaw(1e6), ['b', 'c'])
  assert.equal(parents.thawAt(), undefined)
})

test('Parents.facts() counts what each one gave and failed', () => {
  const parents = new Parents()
  parents.add(parent('a'), 'named')
  parents.onDone('a', 10)
  parents.onDone('a', 7)
  fail(parents, 'a', 'PARENT_REFUSED', 0)
  const [facts] = parents.facts()
  assert.deepEqual(facts, {
    parent: parent('a'),
    named: true,
    endpoint: undefined,
    state: { is: 'live' },
    pieces: 2,
    bytes: 17,
    failures: 1,
    lastCode: 'PARENT_REFUSED',
  })
})

test('Parents answers for strangers without keeping them', () => {
  const parents = new Parents()
  parents.onDone('x', 1)
  parents.onEndpoint('x', { ip: '10.0.0.1' })
  assert.equal(fail(parents, 'x', 'PARENT_TIMEOUT', 0), 'refuse')
  assert.equal(parents.state('x'), undefined)
  assert.equal(parents.facts().length, 0)
})

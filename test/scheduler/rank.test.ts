import assert from 'node:assert/strict'
import test from 'node:test'

import fc from 'fast-check'

import { Coverage, partsMax } from '../../src/scheduler/embedded/coverage.ts'
import {
  affinity,
  coversRange,
  mayServe,
  type PeerStateName,
  type Ranked,
  type RankRules,
  rank,
} from '../../src/scheduler/embedded/rank.ts'
import { type Geometry, geometry } from '../../src/task/piece.ts'

const cut = geometry(16 * 4, 4)

interface Drawn {
  readonly id: string
  readonly host: {
    id: string
    disableShared: boolean
    own: boolean
    idc: string | undefined
    location: string | undefined
  }
  state: { is: PeerStateName }
  range: { start: number; length: number } | undefined
  geometry: Geometry | undefined
  pieces: Coverage | undefined
  readonly parents: Set<Ranked>
  readonly children: Set<Ranked>
  depth: number
  blames: number
}

function peer(id: string, is: PeerStateName, more: Partial<Drawn> = {}): Drawn {
  return {
    id,
    host: {
      id: `host ${id}`,
      disableShared: false,
      own: false,
      idc: undefined,
      location: undefined,
    },
    state: { is },
    range: undefined,
    geometry: cut,
    pieces: undefined,
    parents: new Set(),
    children: new Set(),
    depth: 0,
    blames: 0,
    ...more,
  }
}

function feed(parent: Drawn, ...children: readonly Drawn[]): void {
  for (const child of children) {
    parent.children.add(child)
    child.parents.add(parent)
    child.depth = parent.depth + 1
  }
}

function holding(...numbers: readonly number[]): Coverage {
  const coverage = new Coverage(cut.pieceCount)
  for (const number of numbers) coverage.add(number)
  return coverage
}

const rules: RankRules = { parentsMax: 4, childrenSoftMax: 4, blamesMax: 3, random: () => 0 }

function ranked(
  child: Drawn,
  peers: readonly Drawn[],
  more: { joining?: readonly Drawn[]; banned?: readonly Drawn[]; rules?: RankRules } = {},
): string[] {
  const joining = new Set(more.joining)
  const isBanned = (parent: Drawn): boolean => more.banned?.includes(parent) === true
  return rank(child, peers, { rules: more.rules ?? rules, isBanned, joining }).map(({ id }) => id)
}

test('rank() drops whoever can never serve this child', () => {
  const child = peer('child', 'ReceivedNormal')
  const cases: readonly [string, Drawn][] = [
    ['itself', child],
    ['its own host', peer('a', 'Succeeded', { host: child.host })],
    [
      'a host that does not share',
      (() => {
        const one = peer('a', 'Succeeded')
        one.host.disableShared = true
        return one
      })(),
    ],
    ['another version of the content', peer('a', 'Succeeded', { geometry: geometry(99, 4) })],
    ['another cut of the content', peer('a', 'Succeeded', { geometry: geometry(64, 8) })],
    ['one of unknown length', peer('a', 'BackToSource', { geometry: undefined })],
    ['a pending one', peer('a', 'Pending')],
    ['one that waits for its own parents', peer('a', 'ReceivedNormal')],
    ['one that found nothing to download', peer('a', 'ReceivedEmpty')],
    ['an importer', peer('a', 'Uploading')],
    ['a failed one', peer('a', 'Failed')],
    ['one that left', peer('a', 'Leave')],
    ['one that runs without parents or pieces', peer('a', 'Running')],
  ]
  for (const [name, one] of cases) assert.deepEqual(ranked(child, [one]), [], name)
})

test('rank() offers whoever has it, reads it, or is fed by one of them', () => {
  const reader = peer('reader', 'BackToSource')
  const fed = peer('fed', 'Running')
  const fedByFed = peer('fed by fed', 'ReceivedNormal')
  feed(reader, fed)
  feed(fed, fedByFed)
  const holder = peer('holder', 'Succeeded')
  const found = ranked(peer('child', 'ReceivedNormal'), [reader, fed, fedByFed, holder])
  assert.deepEqual(found.toSorted(), ['fed', 'fed by fed', 'holder', 'reader'])
})

test('rank() drops peers whose way to the content is broken, but for the pieces that they have', () => {
  const stuck = peer('stuck', 'Running')
  const below = peer('below', 'Running')
  feed(stuck, below)
  const child = peer('child', 'Running', { pieces: holding(1, 2) })
  assert.deepEqual(ranked(child, [stuck, below]), [])
  below.pieces = holding(1, 2)
  assert.deepEqual(ranked(child, [stuck, below]), [])
  below.pieces.add(7)
  assert.deepEqual(ranked(child, [stuck, below]), ['below'])
})

test('rank() forms no circle where a foreign peer is part of it', () => {
  const reader = peer('reader', 'BackToSource')
  const child = peer('child', 'Running')
  const below = peer('below', 'Running')
  const deeper = peer('deeper', 'Running')
  feed(reader, below)
  feed(child, below)
  feed(below, deeper)
  assert.deepEqual(ranked(child, [reader, below, deeper]), ['reader'])
  child.host.own = true
  below.host.own = true
  assert.deepEqual(ranked(child, [reader, below, deeper]), ['reader', 'below'])
})

test('rank() offers no peer that lives on the child alone', () => {
  const child = peer('child', 'Running')
  const below = peer('below', 'Running')
  child.host.own = true
  below.host.own = true
  feed(child, below)
  assert.deepEqual(ranked(child, [below]), [])
  // Not either when the child itself is fed.
  const reader = peer('reader', 'BackToSource')
  feed(reader, child)
  assert.deepEqual(ranked(child, [reader, below], { banned: [reader] }), [])
})

test('rank() gives those that join in the same moment to each other, beside one that is sure', () => {
  const reader = peer('reader', 'BackToSource')
  const others = ['a', 'b', 'c', 'd', 'e'].map((id) => peer(id, 'ReceivedNormal'))
  for (const one of others) one.host.own = true
  const [child, ...joining] = others
  assert.ok(child !== undefined)
  const all = [reader, ...others]
  // The reader is busy, and is still among them: it is the only one that can deliver for certain.
  feed(reader, ...['v', 'w', 'x', 'y', 'z'].map((id) => peer(id, 'Running')))
  const found = ranked(child, all, { joining: [child, ...joining] })
  assert.equal(found.length, 4)
  assert.ok(found.includes('reader'))
  assert.deepEqual(ranked(child, others, { joining: others }), [])
})

test('rank() leaves out the banned', () => {
  const a = peer('a', 'Succeeded')
  const b = peer('b', 'Succeeded')
  assert.deepEqual(ranked(peer('child', 'Running'), [a, b], { banned: [a] }), ['b'])
})

test('rank() prefers, in this order: few failures, free uplinks, coverage, place, few children', () => {
  const busy = peer('busy', 'Succeeded')
  feed(busy, ...['1', '2', '3', '4'].map((id) => peer(id, 'Running')))
  const blamed = peer('blamed', 'Succeeded', { blames: 3 })
  const near = peer('near', 'Succeeded')
  near.host.idc = 'here'
  const used = peer('used', 'Succeeded')
  feed(used, peer('5', 'Running'))
  const free = peer('free', 'Succeeded')
  const half = peer('half', 'BackToSource', { pieces: holding(0, 1, 2, 3, 4, 5, 6, 7) })
  const none = peer('none', 'BackToSource')
  const child = peer('child', 'ReceivedNormal')
  child.host.idc = 'HERE'
  const all = [blamed, busy, none, half, used, free, near]
  const wide = { ...rules, parentsMax: 10 }
  assert.deepEqual(ranked(child, all, { rules: wide }), [
    'near',
    'free',
    'used',
    'half',
    'none',
    'busy',
    'blamed',
  ])
})

test('rank() counts only pieces that the child lacks', () => {
  const child = peer('child', 'Running', { pieces: holding(0, 1, 2, 3, 4, 5, 6, 7) })
  const same = peer('same', 'BackToSource', { pieces: holding(0, 1, 2, 3, 4, 5, 6, 7) })
  const other = peer('other', 'BackToSource', { pieces: holding(8, 9, 10, 11) })
  assert.deepEqual(ranked(child, [same, other]), ['other', 'same'])
})

test('rank() knows that part of the content is not all of it', () => {
  const part = peer('part', 'Succeeded', { range: { start: 0, length: 16 } })
  const whole = peer('child', 'ReceivedNormal')
  assert.deepEqual(ranked(whole, [part]), [])
  part.pieces = holding(0, 1, 2, 3)
  assert.deepEqual(ranked(whole, [part]), ['part'])
  const less = peer('child', 'ReceivedNormal', { range: { start: 4, length: 8 } })
  part.pieces = undefined
  assert.deepEqual(ranked(less, [part]), ['part'])
})

test('rank() offers no more than it may, and always somebody when there is somebody', () => {
  const graph = fc.record({
    count: fc.integer({ min: 1, max: 30 }),
    own: fc.boolean(),
    edges: fc.array(fc.tuple(fc.nat(29), fc.nat(29)), { maxLength: 60 }),
    roots: fc.array(fc.nat(29), { maxLength: 4 }),
    limit: fc.integer({ min: 1, max: 6 }),
  })
  fc.assert(
    fc.property(graph, ({ count, own, edges, roots, limit }) => {
      const peers = Array.from({ length: count }, (_, at) => peer(`p${at}`, 'Running'))
      for (const one of peers) one.host.own = own
      for (const [from, to] of edges) {
        const parent = peers[from]
        const child = peers[to]
        if (parent !== undefined && child !== undefined && from < to) feed(parent, child)
      }
      for (const at of roots) {
        const root = peers[at]
        if (root !== undefined) root.state = { is: 'Succeeded' }
      }
      const child = peer('child', 'ReceivedNormal')
      child.host.own = own
      const found = ranked(child, [...peers, child], { rules: { ...rules, parentsMax: limit } })
      assert.ok(found.length <= limit)
      assert.equal(new Set(found).size, found.length)
      const holders = peers.filter(({ state }) => state.is === 'Succeeded')
      assert.equal(found.length > 0, holders.length > 0)
    }),
  )
})

test('mayServe() lets peers of unknown length be compared later', () => {
  const known = peer('a', 'Succeeded')
  const unknown = peer('b', 'ReceivedNormal', { geometry: undefined })
  assert.equal(mayServe(known, unknown), true)
  assert.equal(mayServe(unknown, known), true)
})

test('affinity() weighs data centre and place as upstream does', () => {
  const at = (idc: string | undefined, location: string | undefined): Drawn => {
    const one = peer('x', 'Running')
    one.host.idc = idc
    one.host.location = location
    return one
  }
  const cases: readonly [Drawn, Drawn, number][] = [
    [at(undefined, undefined), at(undefined, undefined), 0],
    [at('a', undefined), at('A', undefined), 2 / 3],
    [at('a', undefined), at('b', undefined), 0],
    [at('a', 'eu|de|x'), at('a', 'EU|DE|X'), 1],
    [at(undefined, 'eu|de|x'), at(undefined, 'eu|de|y'), 2 / 15],
    [at(undefined, 'us|de'), at(undefined, 'eu|de'), 0],
  ]
  for (const [a, b, expected] of cases) {
    assert.ok(Math.abs(affinity(a, b) - expected) < 1e-9, `${affinity(a, b)} is not ${expected}`)
  }
})

test('coversRange() takes undefined for everything', () => {
  const part = { start: 4, length: 8 }
  assert.equal(coversRange(undefined, part), true)
  assert.equal(coversRange(part, undefined), false)
  assert.equal(coversRange(part, part), true)
  assert.equal(coversRange(part, { start: 3, length: 2 }), false)
  assert.equal(coversRange(part, { start: 11, length: 2 }), false)
})

test('Coverage tells the share of what another one lacks', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 200 }),
      fc.array(fc.nat(199)),
      fc.array(fc.nat(199)),
      (count, mine, its) => {
        const here = new Coverage(count)
        const there = new Coverage(count)
        for (const number of mine) here.add(number)
        for (const number of its) there.add(number)
        const has = new Set(mine.filter((number) => number < count))
        const had = new Set(its.filter((number) => number < count))
        const lacked = count - had.size
        const share = [...has].filter((number) => !had.has(number)).length / lacked
        assert.equal(here.held, has.size)
        assert.equal(here.shareOfLack(there), lacked === 0 ? 0 : share)
      },
    ),
  )
})

test('Coverage stays small for a task of a million pieces', () => {
  const coverage = new Coverage(1 << 20)
  for (let number = 0; number < 1 << 20; number += 64) coverage.add(number)
  assert.equal(coverage.held, partsMax)
  assert.equal(coverage.shareOfLack(undefined), 1)
  coverage.add(-1)
  coverage.add(1 << 20)
  coverage.add(0.5)
  assert.equal(coverage.held, partsMax)
})

test('mayServe() takes content of one piece for the same whatever its piece length is', () => {
  const holder = peer('a', 'Succeeded', { geometry: geometry(40, 64) })
  const child = peer('b', 'ReceivedNormal', { geometry: geometry(40, 4096) })
  assert.ok(mayServe(holder, child))
  child.geometry = geometry(40, 20)
  assert.ok(!mayServe(holder, child))
  child.geometry = geometry(39, 64)
  assert.ok(!mayServe(holder, child))
})

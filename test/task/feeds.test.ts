import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { Feeds, feedFailuresMax } from '../../src/task/feeds.ts'
import { spec } from '../sim/content.ts'
import { SimWorld } from '../sim/world.ts'

class Bench extends SimWorld {
  readonly life: AbortController = new AbortController()
  readonly told: Set<string> = new Set()
  readonly failures: string[] = []
  missing: readonly number[] = this.all
  changes = 0
  /** What the run would do about a failure. */
  onFailed: (parent: string) => void = () => undefined
  readonly feeds: Feeds = new Feeds(
    {
      spec,
      cut: this.cut,
      feed: this.parents,
      clock: this.clock,
      version: () => 'v1',
      peerId: () => undefined,
    },
    {
      missing: () => this.missing,
      onTold: () => undefined,
      onHave: (parent, { number }) => {
        const news = !this.told.has(`${number} ${parent}`)
        this.told.add(`${number} ${parent}`)
        return news
      },
      onFailed: (parent, error, startedAt) => {
        const code = PeerError.is(error) ? error.code : String(error)
        this.failures.push(`${parent} ${code} ${startedAt}-${this.clock.now()}`)
        this.onFailed(parent)
      },
      onChange: () => this.changes++,
    },
    this.life.signal,
  )

  constructor() {
    super(6)
  }
}

test('Feeds.watch() tells what a parent has, and what it gets', async () => {
  const bench = new Bench()
  const a = bench.parents.add('a', [1, 3], { feed: 'open' })
  bench.feeds.watch(a.parent)
  await bench.clock.pass(10)
  assert.deepEqual([...bench.told], ['1 a', '3 a'])
  a.gets(5)
  assert.deepEqual([...bench.told], ['1 a', '3 a', '5 a'])
  assert.equal(bench.feeds.mayTell('a'), true)
  bench.feeds.watch(a.parent)
  assert.equal(a.feedsOpened, 1)
  await bench.feeds.close()
  bench.checkNothingOpen()
})

test('Feeds.mayTell() is over when the parent has told all, until it is watched anew', async () => {
  const bench = new Bench()
  const a = bench.parents.add('a', [1])
  bench.feeds.watch(a.parent)
  await bench.clock.pass(10)
  assert.equal(bench.feeds.mayTell('a'), false)
  assert.equal(bench.feeds.state('a'), 'ended')
  assert.equal(bench.changes, 1)
  bench.feeds.watch(a.parent)
  assert.equal(bench.feeds.mayTell('a'), true)
  await bench.feeds.close()
})

test('Feeds.watch() does not ask when nothing is missing', () => {
  const bench = new Bench()
  bench.missing = []
  const a = bench.parents.add('a', [1])
  bench.feeds.watch(a.parent)
  assert.equal(a.feedsOpened, 0)
  assert.equal(bench.feeds.mayTell('a'), false)
})

for (const feed of ['lies', 'floods'] as const) {
  test(`Feeds.watch() blames a parent whose feed ${feed}`, async () => {
    const bench = new Bench()
    bench.onFailed = (parent) => bench.feeds.drop(parent)
    const a = bench.parents.add('a', [0], { feed })
    bench.feeds.watch(a.parent)
    await bench.clock.pass(10_000)
    assert.deepEqual(bench.failures, ['a PARENT_PROTOCOL 0-1'])
    assert.ok(bench.told.size <= 1)
    bench.checkNothingOpen()
  })
}

const impossible = [
  ['a number past the end', { number: 6, offset: 60, length: 10 }],
  ['a negative number', { number: -1, offset: -10, length: 10 }],
  ['half a number', { number: 0.5, offset: 5, length: 10 }],
  ['a wrong offset', { number: 1, offset: 11, length: 10 }],
  ['a wrong length', { number: 1, offset: 10, length: 9 }],
  ['the full length for the last piece', { number: 5, offset: 50, length: 10 }],
] as const
for (const [name, word] of impossible) {
  test(`Feeds.watch() blames a parent that tells ${name}`, async () => {
    const bench = new Bench()
    const a = bench.parents.add('a', [])
    bench.parents.watch = async (_parent, _request, onHave) => {
      onHave({ ...word, endpoint: { ip: '127.0.0.1' } })
    }
    bench.onFailed = (parent) => bench.feeds.drop(parent)
    bench.feeds.watch(a.parent)
    await bench.clock.settle()
    assert.deepEqual(bench.failures, ['a PARENT_PROTOCOL 0-0'])
    assert.equal(bench.told.size, 0)
  })
}

test('Feeds opens a feed again that broke, with growing pauses, a bounded number of times', async () => {
  const bench = new Bench()
  const a = bench.parents.add('a', [], { feed: 'refused' })
  bench.feeds.watch(a.parent)
  await bench.clock.pass(100)
  assert.equal(bench.feeds.state('a'), 'resting')
  assert.equal(bench.feeds.mayTell('a'), true)
  await bench.clock.pass(60_000)
  assert.equal(bench.failures.length, feedFailuresMax)
  assert.deepEqual(bench.failures, [
    'a PARENT_REFUSED 0-1',
    'a PARENT_REFUSED 501-502',
    'a PARENT_REFUSED 1502-1503',
  ])
  assert.equal(bench.feeds.mayTell('a'), false)
  // Named again by the scheduler, it is tried again.
  bench.feeds.watch(a.parent)
  await bench.clock.pass(60_000)
  assert.equal(bench.failures.length, feedFailuresMax * 2)
  bench.checkNothingOpen()
})

test('Feeds does not count failures together that had news between them', async () => {
  const bench = new Bench()
  const a = bench.parents.add('a', [], { feed: 'open' })
  const watch = bench.parents.watch.bind(bench.parents)
  let opened = 0
  bench.parents.watch = async (parent, request, onHave, signal) => {
    a.gets(opened++)
    if (opened > 5) return watch(parent, request, onHave, signal)
    onHave({ number: opened - 1, offset: opened * 10 - 10, length: 10, endpoint: { ip: '::1' } })
    throw new PeerError('PARENT_UNREACHABLE', 'Cut', { parent: 'a', reason: 'cut' })
  }
  bench.feeds.watch(a.parent)
  await bench.clock.pass(60_000)
  assert.equal(bench.failures.length, 5)
  assert.equal(bench.feeds.state('a'), 'open')
  assert.equal(bench.told.size, 6)
  await bench.feeds.close()
  bench.checkNothingOpen()
})

test('Feeds.more() asks every parent for the new pieces, those too that had told all', async () => {
  const bench = new Bench()
  const a = bench.parents.add('a', bench.all, { feed: 'open' })
  const b = bench.parents.add('b', bench.all)
  bench.missing = [0]
  bench.feeds.watch(a.parent)
  bench.feeds.watch(b.parent)
  await bench.clock.pass(10)
  assert.deepEqual([...bench.told], ['0 a', '0 b'])
  bench.feeds.more([4, 5])
  await bench.clock.pass(10)
  assert.deepEqual([...bench.told], ['0 a', '0 b', '4 a', '5 a', '4 b', '5 b'])
  assert.equal(a.feeds, 2)
  await bench.feeds.close()
  bench.checkNothingOpen()
})

test('Feeds.more() keeps the number of feeds to one parent in bounds', async () => {
  const bench = new Bench()
  const a = bench.parents.add('a', bench.all, { feed: 'open' })
  bench.missing = [0]
  bench.feeds.watch(a.parent)
  let most = 0
  for (let count = 0; count < 20; count++) {
    bench.missing = bench.all
    bench.feeds.more([count % 6])
    await bench.clock.pass(10)
    most = Math.max(most, a.feeds)
  }
  assert.equal(most, 4)
  assert.equal(bench.told.size, 6)
  await bench.feeds.close()
  bench.checkNothingOpen()
})

test('Feeds.drop() ends the feeds of one parent without blame', async () => {
  const bench = new Bench()
  const a = bench.parents.add('a', [0], { feed: 'open' })
  const b = bench.parents.add('b', [0], { feed: 'open' })
  bench.feeds.watch(a.parent)
  bench.feeds.watch(b.parent)
  await bench.clock.pass(10)
  bench.feeds.drop('a')
  await bench.clock.settle()
  a.gets(1)
  assert.deepEqual([a.feeds, b.feeds], [0, 1])
  assert.equal(bench.feeds.mayTell('a'), false)
  assert.deepEqual(bench.failures, [])
  assert.equal(bench.told.has('1 a'), false)
  bench.life.abort('over')
  await bench.feeds.close()
  assert.deepEqual(bench.failures, [])
  bench.checkNothingOpen()
})

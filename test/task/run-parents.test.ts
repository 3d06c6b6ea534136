import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { digestOf } from '../sim/content.ts'
import { lost, parents, SimAnnouncer } from '../sim/scheduler.ts'
import { outcomeOf, SimWorld } from '../sim/world.ts'

test('Run downloads from several parents at once and tells the scheduler', async () => {
  const world = new SimWorld(20)
  const a = world.parents.add('a', world.all)
  const b = world.parents.add('b', world.all)
  const announcer = new SimAnnouncer([parents(a, b)])
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  await run.ended
  world.checkContent()
  world.checkNothingOpen()
  const { told, reports, registration } = announcer.session
  assert.deepEqual(told.slice(0, 1), ['started'])
  assert.equal(told.at(-1), 'end done')
  assert.deepEqual(
    reports.map(({ piece }) => piece.number).sort((one, other) => one - other),
    world.all,
  )
  for (const report of reports) {
    assert.equal(report.traffic, 'peer')
    assert.equal(report.digest, digestOf(world.cut, report.piece.number))
    assert.equal(report.parentId, world.sink.parentOf(report.piece.number))
    assert.ok(report.costMs > 0 && report.createdAt > 1e12)
  }
  assert.ok(a.asked.length >= 8 && b.asked.length >= 8)
  assert.equal(world.origin.reads.length, 0)
  assert.equal(registration.peerId, 'peer-1')
  assert.deepEqual(registration.geometry, world.cut)
  assert.deepEqual(
    [registration.range, registration.needBackToSource, registration.metadataOnly],
    [undefined, false, false],
  )
})

test('Run fetches pieces as parents get them', async () => {
  const world = new SimWorld(6)
  const a = world.parents.add('a', [], { feed: 'open' })
  const run = world.run(new SimAnnouncer([parents(a)]))
  const share = run.join()
  for (const number of world.all) {
    await world.clock.pass(3000)
    assert.equal(share.progress().piecesKept, number)
    a.gets(number)
    await world.clock.pass(50)
    assert.equal(share.progress().piecesKept, number + 1)
  }
  await share.done
  assert.equal(world.origin.reads.length, 0)
})

test('Run never fetches more pieces at once than it may, and asks no parent for more than its limit', async () => {
  const world = new SimWorld(30)
  const all = ['a', 'b', 'c'].map((id) => world.parents.add(id, world.all, { sendMs: 100 }))
  const run = world.run(new SimAnnouncer([parents(...all)]), {
    concurrency: 5,
    parentInFlightMax: 2,
  })
  run.join()
  let most = 0
  let mostOfOne = 0
  await world.clock.until(() => {
    most = Math.max(most, world.sink.openSlots)
    for (const { reading } of all) mostOfOne = Math.max(mostOfOne, reading)
    return !run.open
  })
  assert.equal(most, 5)
  assert.equal(mostOfOne, 2)
})

for (const reads of ['silent', 'stuck'] as const) {
  test(`Run leaves a parent that goes ${reads} within 2 s`, async () => {
    const world = new SimWorld(8)
    const a = world.parents.add('a', world.all, { reads, delayMs: 0 })
    const b = world.parents.add('b', world.all, { delayMs: 5, sendMs: 5 })
    const run = world.run(new SimAnnouncer([parents(a, b)]))
    const share = run.join()
    const seen = outcomeOf(share.done)
    await world.clock.until(() => seen.settled)
    assert.ok(a.asked.length > 0)
    for (const { number, at } of a.asked) {
      const next = b.asked.find((asked) => asked.number === number)
      assert.ok(next !== undefined && next.at - at <= 2000, `piece ${number} after ${at}`)
    }
    assert.ok(world.clock.now() < 2000)
    await run.ended
    world.checkContent()
    world.checkNothingOpen()
  })
}

test('Run leaves a silent parent at once when another one gets the piece later', async () => {
  const world = new SimWorld(1)
  const a = world.parents.add('a', [0], { reads: 'silent' })
  const b = world.parents.add('b', [], { feed: 'open' })
  const run = world.run(new SimAnnouncer([parents(a, b)]))
  const share = run.join()
  await world.clock.pass(20_000)
  assert.equal(b.asked.length, 0)
  b.gets(0)
  await world.clock.pass(100)
  await share.done
  assert.equal(b.asked.length, 1)
})

test('Run does not let a piece circle among busy parents for ever', async () => {
  const world = new SimWorld(1)
  const all = ['a', 'b'].map((id) => world.parents.add(id, [0], { delayMs: 5000 }))
  const run = world.run(new SimAnnouncer([parents(...all)]), { backToSource: 'never' })
  const share = run.join()
  const seen = outcomeOf(share.done)
  await world.clock.until(() => seen.settled)
  assert.equal(seen.error, undefined)
  // 1.5 s and 3 s are not enough, 6 s are.
  assert.equal(all.flatMap(({ asked }) => asked).length, 3)
  assert.ok(world.clock.now() < 15_000)
})

test('Run gives up a parent that stays silent, and finishes with the others', async () => {
  const world = new SimWorld(60)
  const a = world.parents.add('a', world.all, { reads: 'silent' })
  const b = world.parents.add('b', world.all, { delayMs: 50, sendMs: 200 })
  const run = world.run(new SimAnnouncer([parents(a, b)]))
  const share = run.join()
  const seen = outcomeOf(share.done)
  await world.clock.until(() => seen.settled)
  assert.equal(seen.error, undefined)
  const facts = run.explain().parents.find(({ id }) => id === 'a')
  assert.ok(facts !== undefined && facts.failures >= 1)
  // b needs about 4 s for all; a is asked at most once in each pause.
  assert.ok(a.asked.length <= 12, `${a.asked.length}`)
  assert.ok(world.clock.now() < 8000, `${world.clock.now()}`)
})

test('Run bans the one of three parents that sends wrong bytes', async () => {
  const world = new SimWorld(30)
  const bad = world.parents.add('bad', world.all, { reads: 'wrong', delayMs: 1, sendMs: 1 })
  const good = ['a', 'b'].map((id) => world.parents.add(id, world.all))
  const announcer = new SimAnnouncer([parents(bad, ...good)])
  const run = world.run(announcer)
  const share = run.join()
  const seen = outcomeOf(share.done)
  await world.clock.until(() => seen.settled)
  await run.ended
  assert.equal(seen.error, undefined)
  world.checkContent()
  world.checkNothingOpen()
  // Asked for one first helping and never again.
  assert.ok(bad.asked.length >= 1 && bad.asked.length <= 4)
  assert.ok(world.all.every((number) => world.sink.parentOf(number) !== 'bad'))
  assert.equal(
    announcer.session.told.filter((word) => word.startsWith('failed') && word.endsWith('bad'))
      .length,
    1,
  )
  const facts = run.explain().parents.find(({ id }) => id === 'bad')
  assert.deepEqual([facts?.state, facts?.lastFailure], ['banned', 'DIGEST_MISMATCH'])
})

test('Run stops everything with a parent that it bans', async () => {
  const world = new SimWorld(8)
  const bad = world.parents.add('bad', world.all, { feed: 'open' })
  const read = world.parents.read.bind(world.parents)
  let first = true
  world.parents.read = async (from, request, slot, signal) => {
    if (!first) await world.clock.sleep(1000, signal)
    first = false
    return read(from, request, slot, signal)
  }
  const run = world.run(new SimAnnouncer([parents(bad)]), { backToSource: 'never' })
  run.join()
  await world.clock.until(() => world.sink.openSlots === 8)
  Object.assign(bad.manners, { reads: 'wrong' })
  await world.clock.until(() => run.explain().parents[0]?.state === 'banned')
  await world.clock.settle()
  assert.ok(world.clock.now() < 1000)
  assert.deepEqual([bad.reading, bad.feeds, world.sink.openSlots], [0, 0, 0])
  assert.deepEqual(run.explain().pieces, { waiting: 8, unreachable: 8, fetching: 0, done: 0 })
  run.cancel('enough')
})

test('Run bans a parent that tells another cut of the content', async () => {
  const world = new SimWorld(4)
  const bad = world.parents.add('bad', world.all, { feed: 'lies' })
  const good = world.parents.add('good', world.all)
  const run = world.run(new SimAnnouncer([parents(bad, good)]))
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.equal(bad.asked.length, 0)
  assert.equal(run.explain().parents[0]?.state, 'banned')
})

test('Run bans a parent that holds another version', async () => {
  const world = new SimWorld(4)
  const old = world.parents.add('old', world.all, { feed: 'changed' })
  const good = world.parents.add('good', world.all)
  const run = world.run(new SimAnnouncer([parents(old, good)]), { validator: 'v2' })
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.deepEqual([old.feedsOpened, old.asked.length], [1, 0])
})

test('Run asks a parent that refuses a piece for other pieces', async () => {
  const world = new SimWorld(2)
  const a = world.parents.add('a', world.all, { reads: 'refused' })
  const b = world.parents.add('b', [0])
  const run = world.run(new SimAnnouncer([parents(a, b)]), { parentInFlightMax: 1 })
  const share = run.join()
  await world.clock.until(() => a.asked.length > 0 && a.reading === 0)
  Object.assign(a.manners, { reads: 'well' })
  await world.clock.until(() => !run.open)
  await share.done
  const asked = a.asked.map(({ number }) => number)
  assert.equal(asked.length, new Set(asked).size)
})

test('Run tries an unreachable parent three times and then leaves it', async () => {
  const world = new SimWorld(4)
  const a = world.parents.add('a', world.all, { reads: 'unreachable' })
  const b = world.parents.add('b', [0, 1, 2], { feed: 'open' })
  const run = world.run(new SimAnnouncer([parents(a, b)]), { backToSource: 'never' })
  run.join()
  await world.clock.pass(8000)
  assert.equal(run.explain().parents[0]?.state, 'dropped')
  assert.ok(a.asked.length >= 3 && a.asked.length <= 12)
  assert.equal(world.sink.keptCount, 3)
  run.cancel(new Error('enough'))
  await run.ended
  world.checkNothingOpen()
})

test('Run keeps its parents when the scheduler dies in the middle of a download', async () => {
  const world = new SimWorld(40)
  const a = world.parents.add('a', world.all, { sendMs: 100 })
  const announcer = new SimAnnouncer([parents(a)])
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.until(() => world.sink.keptCount > 10)
  announcer.session.answer(lost())
  await world.clock.until(() => !run.open)
  await share.done
  await run.ended
  assert.equal(world.origin.reads.length, 0)
  assert.equal(announcer.sessions.length, 1)
  assert.equal(a.feedsOpened, 1)
  world.checkContent()
  world.checkNothingOpen()
})

test('Run takes all pieces of a parent whose feed has ended or broken', async () => {
  const world = new SimWorld(10)
  const a = world.parents.add('a', [0, 1, 2, 3, 4])
  const b = world.parents.add('b', [5, 6, 7, 8, 9], { feed: 'open' })
  const run = world.run(new SimAnnouncer([parents(a, b)]), { backToSource: 'never' })
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  world.checkNothingOpen()
})

test('Run ends with the failure of our own store, at once', async () => {
  const full = new PeerError('NO_SPACE', 'Full', { path: '/x', needed: 1 })
  const world = new SimWorld(10, { commitError: () => full })
  const a = world.parents.add('a', world.all)
  const announcer = new SimAnnouncer([parents(a)])
  const run = world.run(announcer)
  const seen = outcomeOf(run.join().done)
  await world.clock.until(() => seen.settled)
  assert.equal(seen.error, full)
  await run.ended
  assert.equal(announcer.session.told.at(-1), 'end failed NO_SPACE')
  world.checkNothingOpen()
})

test('Run ends with the fault of a port that throws something else', async () => {
  const world = new SimWorld(10)
  const a = world.parents.add('a', world.all)
  const fault = new TypeError('A bug')
  world.parents.read = async () => {
    throw fault
  }
  const run = world.run(new SimAnnouncer([parents(a)]))
  const seen = outcomeOf(run.join().done)
  await world.clock.until(() => seen.settled)
  assert.equal(seen.error, fault)
  await run.ended
  world.checkNothingOpen()
})

test('Run.explain() tells who does what, and nothing secret', async () => {
  const world = new SimWorld(10)
  const a = world.parents.add('a', world.all, { reads: 'stuck', delayMs: 0 })
  const run = world.run(new SimAnnouncer([parents(a)]))
  run.join()
  await world.clock.pass(100)
  const state = run.explain()
  assert.deepEqual(state.pieces, { waiting: 2, unreachable: 0, fetching: 8, done: 0 })
  assert.equal(state.waitsFor, 'nothing')
  assert.deepEqual(state.parents, [
    {
      id: 'a',
      address: '127.0.0.1:4000',
      seed: false,
      named: true,
      state: 'live',
      feed: 'ended',
      haves: 10,
      inFlight: 8,
      pieces: 0,
      bytes: 0,
      failures: 0,
      lastFailure: undefined,
    },
  ])
  assert.ok(!JSON.stringify(state).includes('secret'))
  run.cancel(new Error('enough'))
  await run.ended
  assert.equal(run.explain().state, 'ended')
})

test('Run.explain() tells what it waits for', async () => {
  const waits: string[] = []
  const world = new SimWorld(2)
  const a = world.parents.add('a', [], { feed: 'open' })
  const announcer = new SimAnnouncer([])
  const run = world.run(announcer)
  const note = (): void => {
    const { waitsFor, scheduler, origin } = run.explain()
    waits.push(`${waitsFor}: scheduler ${scheduler}, origin ${origin}`)
  }
  note()
  run.join()
  note()
  announcer.session.answer(parents(a))
  await world.clock.pass(10)
  note()
  world.origin.manners.errors = [
    new PeerError('ORIGIN_UNAVAILABLE', 'x', { url: '', status: 503, attempts: 1 }),
    new PeerError('ORIGIN_UNAVAILABLE', 'x', { url: '', status: 503, attempts: 1 }),
  ]
  announcer.session.answer({ is: 'source' })
  await world.clock.settle()
  note()
  await world.clock.pass(20)
  note()
  run.cancel('enough')
  note()
  assert.deepEqual(waits, [
    'nothing: scheduler closed, origin closed',
    'scheduler: scheduler waiting, origin closed',
    'parents: scheduler idle, origin closed',
    'nothing: scheduler idle, origin live',
    'origin: scheduler idle, origin paused',
    'nothing: scheduler over, origin paused',
  ])
})

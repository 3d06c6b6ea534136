import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import type { Answer, Registration, Session } from '../../src/task/ports.ts'
import { lost, parents, SimAnnouncer, SimSession } from '../sim/scheduler.ts'
import { outcomeOf, SimWorld } from '../sim/world.ts'

const never = { backToSource: 'never' } as const

test('Run opens no session when everything is kept already', async () => {
  const world = new SimWorld(4)
  world.sink.preset(world.all)
  const announcer = new SimAnnouncer([])
  const run = world.run(announcer)
  const share = run.join()
  await share.done
  await run.ended
  assert.equal(announcer.sessions.length, 0)
  assert.equal(share.progress().localBytes, world.cut.contentLength)
  world.checkNothingOpen()
})

test('Run fetches only what is missing', async () => {
  const world = new SimWorld(6)
  world.sink.preset([0, 2, 4])
  const a = world.parents.add('a', world.all)
  const run = world.run(new SimAnnouncer([parents(a)]))
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.deepEqual(a.asked.map(({ number }) => number).sort(), [1, 3, 5])
})

test('Run asks for other parents when those it has cannot deliver, naming all of them', async () => {
  const world = new SimWorld(6)
  const a = world.parents.add('a', [0, 1])
  const b = world.parents.add('b', [1, 2])
  const c = world.parents.add('c', world.all)
  const announcer = new SimAnnouncer([parents(a, b)], (session) => session.answer(parents(c)))
  const run = world.run(announcer, never)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.deepEqual(
    announcer.session.told.filter((word) => word.startsWith('reschedule')),
    ['reschedule a,b'],
  )
  assert.equal(announcer.session.told.filter((word) => word === 'started').length, 2)
  assert.equal(c.feedsOpened, 1)
  world.checkContent()
})

test('Run asks for other parents while it still fetches from those it has', async () => {
  const world = new SimWorld(2)
  const a = world.parents.add('a', [0], { sendMs: 30_000, delayMs: 0 })
  const c = world.parents.add('c', [1])
  const announcer = new SimAnnouncer([parents(a)], (session) => session.answer(parents(c)))
  const run = world.run(announcer, { ...never, patienceMs: 60_000 })
  run.join()
  await world.clock.pass(1000)
  assert.deepEqual([world.sink.has(0), world.sink.has(1)], [false, true])
  run.cancel(new Error('enough'))
  await run.ended
})

test('Run gives up nobody while a live parent may still get the rest', async () => {
  const world = new SimWorld(3)
  const a = world.parents.add('a', [0], { feed: 'open' })
  const announcer = new SimAnnouncer([parents(a)])
  const run = world.run(announcer, never)
  const share = run.join()
  // A seed that reads a slow origin: nothing for a long time, and that is no reason to leave it.
  await world.clock.pass(170_000)
  a.gets(1)
  await world.clock.pass(170_000)
  a.gets(2)
  await world.clock.pass(100)
  await share.done
  assert.equal(announcer.session.told.filter((word) => word.startsWith('reschedule a')).length, 0)
})

for (const backToSource of ['allow', 'never'] as const) {
  test(`Run that has lost the scheduler and hopes for a parent without a piece, origin: ${backToSource}`, async () => {
    const world = new SimWorld(3)
    const a = world.parents.add('a', [], { feed: 'open' })
    const announcer = new SimAnnouncer([parents(a)])
    const run = world.run(announcer, { backToSource })
    const share = run.join()
    await world.clock.pass(10)
    announcer.session.answer(lost())
    await world.clock.pass(7000)
    // Two peers may hope for each other: one of them goes. Where nobody may go, waiting is all there is.
    assert.equal(world.sink.keptCount, backToSource === 'allow' ? 3 : 0)
    assert.equal(run.open, backToSource === 'never')
    await world.clock.pass(100_000)
    a.gets(0, 1, 2)
    await world.clock.pass(100)
    await share.done
  })
}

test('Run looks for others when all parents are silent for long, and fails in time', async () => {
  const world = new SimWorld(3)
  const all = ['a', 'b'].map((id) => world.parents.add(id, [], { feed: 'open' }))
  const announcer = new SimAnnouncer([parents(...all)], (session) =>
    session.answer({ is: 'empty' }),
  )
  const run = world.run(announcer, never)
  const seen = outcomeOf(run.join().done)
  await world.clock.pass(179_000)
  // Asked with doubts, which name nobody.
  assert.ok(announcer.session.told.slice(1).every((word) => word === 'reschedule '))
  await world.clock.until(() => seen.settled)
  assert.ok(PeerError.is(seen.error, 'NO_PARENTS'))
  assert.equal(seen.error.details.tried, 2)
  assert.ok(seen.error.details.waitedMs >= 180_000)
  const asked = announcer.session.told.filter((word) => word.startsWith('reschedule a'))
  assert.equal(asked.length, 4)
  assert.ok(world.clock.now() <= 180_000 + 10_000 + 10, `${world.clock.now()}`)
  assert.equal(world.origin.reads.length, 0)
  await run.ended
  world.checkNothingOpen()
})

const hopeless: readonly (readonly [
  name: string,
  first: Answer | PeerError | undefined | 'silent',
])[] = [
  ['is silent', 'silent'],
  ['names nobody', { is: 'parents', parents: [] }],
  ['says that there is nothing to download', { is: 'empty' }],
  ['orders to go to the origin, which is forbidden', { is: 'source' }],
  ['ends the session', undefined],
  ['is lost', lost()],
]
for (const [name, first] of hopeless) {
  test(`Run fails with NO_PARENTS in time when the scheduler ${name}, and never touches the origin`, async () => {
    const world = new SimWorld(3)
    const answers = first === 'silent' ? [] : [first, first, first, first, first, first]
    const announcer = new SimAnnouncer(answers, (session) => {
      if (first !== 'silent') session.answer(first)
    })
    const run = world.run(announcer, never)
    const seen = outcomeOf(run.join().done)
    await world.clock.until(() => seen.settled)
    assert.ok(PeerError.is(seen.error, 'NO_PARENTS'))
    assert.deepEqual([seen.error.details.tried, seen.error.details.waitedMs], [0, 10_000])
    assert.equal(world.clock.now(), 10_000)
    assert.equal(world.origin.reads.length, 0)
    await run.ended
    for (const session of announcer.sessions) {
      assert.equal(session.registration.backToSource, 'never')
      assert.equal(session.told.includes('sourceStarted'), false)
      assert.equal(session.told.filter((word) => word.startsWith('end')).length, 1)
    }
    world.checkNothingOpen()
  })
}

test('Run counts all its time without hope, also when it hoped in between', async () => {
  const world = new SimWorld(3)
  let next = 0
  const dead = () => parents(world.parents.add(`dead${next++}`, [], { feed: 'unreachable' }))
  const announcer = new SimAnnouncer([dead()], (session) => session.answer(dead()))
  const run = world.run(announcer, never)
  const seen = outcomeOf(run.join().done)
  await world.clock.until(() => seen.settled)
  assert.ok(PeerError.is(seen.error, 'NO_PARENTS'))
  // The first, four that were asked for, three that were welcome, and one more that a doubt brought.
  assert.equal(seen.error.details.tried, 9)
  // Nine times up to 1.5 s of trying, and 10 s of everything else.
  const tookMs = world.clock.now()
  assert.ok(tookMs >= 17_500 && tookMs <= 23_600, `${tookMs}`)
})

test('Run keeps the reason why there was nobody', async () => {
  const world = new SimWorld(3)
  const first = lost()
  const run = world.run(new SimAnnouncer([first, first, first, first]), never)
  const seen = outcomeOf(run.join().done)
  await world.clock.until(() => seen.settled)
  assert.ok(seen.error instanceof Error)
  assert.equal(seen.error.cause, first)
})

test('Run survives endless empty answers', async () => {
  const world = new SimWorld(3)
  const announcer = new SimAnnouncer([{ is: 'parents', parents: [] }], (session) =>
    session.answer({ is: 'parents', parents: [] }),
  )
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  const asked = announcer.session.told.filter((word) => word.startsWith('reschedule'))
  assert.equal(asked.length, 4)
  // Asked at 0, 0.5, 1.5 and 3.5 s; then the origin.
  assert.equal(world.origin.reads[0]?.at, 3500)
  world.checkContent()
})

test('Run survives a scheduler that answers without being asked, without end', async () => {
  const world = new SimWorld(3)
  class Chatty extends SimSession {
    override async next(): Promise<Answer> {
      return { is: 'parents', parents: [] }
    }
  }
  const sessions: Session[] = []
  const announcer = new SimAnnouncer([])
  announcer.open = (registration: Registration) => {
    const session = new Chatty(registration, () => undefined)
    sessions.push(session)
    return session
  }
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.equal(sessions.length, 1)
})

test('Run registers anew when the scheduler was lost and nobody else can help', async () => {
  const world = new SimWorld(3)
  const a = world.parents.add('a', [0])
  const b = world.parents.add('b', world.all)
  const announcer = new SimAnnouncer([parents(a), parents(b)])
  const run = world.run(announcer, never)
  const share = run.join()
  await world.clock.until(() => world.sink.has(0))
  announcer.session.answer(lost())
  await world.clock.until(() => !run.open)
  await share.done
  const [first, second] = announcer.sessions
  assert.equal(announcer.sessions.length, 2)
  assert.notEqual(first?.registration.peerId, second?.registration.peerId)
  assert.equal(first?.ended, true)
  assert.equal(second?.told.at(-1), 'end done')
})

test('Run counts reschedules anew when pieces came between them', async () => {
  const world = new SimWorld(12)
  const each = world.all.map((number) => world.parents.add(`p${number}`, [number]))
  let next = 1
  const [first] = each
  assert.ok(first)
  const announcer = new SimAnnouncer([parents(first)], (session) => {
    const parent = each[next++]
    if (parent !== undefined) session.answer(parents(parent))
  })
  const run = world.run(announcer, never)
  const share = run.join()
  const seen = outcomeOf(share.done)
  await world.clock.until(() => seen.settled)
  assert.equal(seen.error, undefined)
  assert.equal(announcer.session.told.filter((word) => word.startsWith('reschedule')).length, 11)
})

test('Run gives a dropped parent one more chance when the scheduler names it again', async () => {
  const world = new SimWorld(2)
  const a = world.parents.add('a', world.all, { reads: 'unreachable' })
  const announcer = new SimAnnouncer([parents(a)], (session, named) => {
    // Who only wants more parents names none.
    if (named.length > 0) Object.assign(a.manners, { reads: 'well' })
    session.answer(parents(a))
  })
  const run = world.run(announcer, never)
  const share = run.join()
  const seen = outcomeOf(share.done)
  await world.clock.until(() => seen.settled)
  assert.equal(seen.error, undefined)
  assert.equal(a.feedsOpened, 2)
  world.checkContent()
})

test('Run does not take back a banned parent, whoever names it', async () => {
  const world = new SimWorld(2)
  const a = world.parents.add('a', world.all, { reads: 'wrong' })
  const announcer = new SimAnnouncer([parents(a)], (session) => session.answer(parents(a)))
  const run = world.run(announcer, never)
  const seen = outcomeOf(run.join().done)
  await world.clock.until(() => seen.settled)
  assert.ok(PeerError.is(seen.error, 'NO_PARENTS'))
  assert.ok(PeerError.is(seen.error.cause, 'DIGEST_MISMATCH'))
  assert.equal(a.feedsOpened, 1)
  assert.ok(a.asked.length <= 2)
  assert.ok(world.clock.now() <= 10_100)
})

test('Run is not held up by a scheduler that takes long to hear the end', async () => {
  const world = new SimWorld(2)
  const a = world.parents.add('a', world.all)
  const announcer = new SimAnnouncer([parents(a)])
  const run = world.run(announcer)
  const share = run.join()
  const { session } = announcer
  session.finish = () => world.clock.sleep(5000, new AbortController().signal)
  const seen = outcomeOf(share.done)
  const ended = outcomeOf(run.ended)
  await world.clock.until(() => seen.settled)
  assert.ok(world.clock.now() < 1000)
  assert.equal(ended.settled, false)
  assert.equal(run.open, false)
  await world.clock.until(() => ended.settled)
  assert.ok(world.clock.now() >= 5000)
})

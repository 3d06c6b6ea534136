import assert from 'node:assert/strict'
import test from 'node:test'
import { hostNews, hostNewsIntervalMs } from '../../src/peer/host-news.ts'
import { headersTimeoutMs } from '../../src/scheduler/session.ts'
import { deferred } from '../../src/util/deferred.ts'
import { clientFor, parents as named, registration, Script } from '../scheduler/script.ts'
import { VirtualClock } from '../sim/clock.ts'
import { parents, SimAnnouncer } from '../sim/scheduler.ts'
import { SimWorld } from '../sim/world.ts'

const never = { backToSource: 'never' } as const

test('Run ends with its last piece, though feeds of slow parents are open', async () => {
  const world = new SimWorld(4)
  const fast = world.parents.add('fast', world.all, { feed: 'ends' })
  const slow = world.parents.add('slow', [], { feed: 'open' })
  const run = world.run(new SimAnnouncer([parents(fast, slow)]), never)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  await run.ended
  // Four pieces of 20 ms each, at the same time.
  assert.ok(world.clock.now() < 100, `${world.clock.now()} ms`)
  world.checkNothingOpen()
})

test('Run asks for a piece in the moment in which the first parent tells it, whoever else may get it', async () => {
  const world = new SimWorld(2)
  const one = world.parents.add('one', [], { feed: 'open' })
  const other = world.parents.add('other', [], { feed: 'open' })
  const run = world.run(new SimAnnouncer([parents(one, other)]), never)
  const share = run.join()
  await world.clock.pass(5000)
  one.gets(0, 1)
  await world.clock.settle()
  assert.deepEqual(
    one.asked.map(({ at }) => at),
    [5000, 5000],
  )
  await world.clock.pass(100)
  await share.done
})

test('Run begins with the parents that answer, while others cannot even be reached', async () => {
  const world = new SimWorld(4)
  const dead = world.parents.add('dead', [], { feed: 'unreachable' })
  const good = world.parents.add('good', world.all)
  const watch = world.parents.watch.bind(world.parents)
  world.parents.watch = async (parent, request, onHave, signal) => {
    // As long as connecting may take.
    if (parent.id === 'dead') await world.clock.sleep(3000, signal)
    await watch(parent, request, onHave, signal)
  }
  const run = world.run(new SimAnnouncer([parents(dead, good)]), never)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.ok(world.clock.now() < 100, `${world.clock.now()} ms`)
})

test('Run names each parent that it gives up, also one that never told a piece', async () => {
  const world = new SimWorld(4)
  const dead = world.parents.add('dead', [], { feed: 'unreachable' })
  const liar = world.parents.add('liar', [0], { feed: 'lies' })
  const wrong = world.parents.add('wrong', world.all, { reads: 'wrong', delayMs: 0 })
  const good = world.parents.add('good', world.all, { delayMs: 5000 })
  const announcer = new SimAnnouncer([parents(dead, liar, wrong, good)])
  const run = world.run(announcer, never)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  const failed = announcer.session.told.filter((word) => word.startsWith('failed'))
  const who = failed.map((word) => word.split(' ').at(-1))
  assert.deepEqual(who.toSorted(), ['dead', 'liar', 'wrong'])
  world.checkContent()
})

test('Run asks the scheduler for more parents when it has few and pieces wait, and takes them', async () => {
  const world = new SimWorld(20)
  const first = world.parents.add('first', world.all, { sendMs: 200 })
  const later = world.parents.add('later', world.all, { sendMs: 200 })
  const announcer = new SimAnnouncer([parents(first)], (session, blamed) => {
    assert.deepEqual(blamed, [])
    session.answer(parents(first, later))
  })
  const run = world.run(announcer, never)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.ok(later.asked.length > 0)
  assert.equal(announcer.session.told.filter((word) => word === 'reschedule ').length, 1)
})

test('hostNews() gives each of many children its word every second', async () => {
  const clock = new VirtualClock()
  const life = new AbortController()
  const news = { sentBytes: () => 0, sendBytesPerSecondMax: 1000, clock }
  const children = Array.from({ length: 50 }, () => hostNews(news, life.signal))
  for (let second = 1; second <= 3; second++) {
    const words = Promise.all(children.map((child) => child.next()))
    await clock.pass(hostNewsIntervalMs)
    await words
    assert.equal(clock.now(), second * hostNewsIntervalMs)
  }
  life.abort()
})

test('Session waits for a scheduler in this process that has not answered for long: it is not hung', async (t) => {
  const script = new Script()
  const clock = new VirtualClock()
  const go = deferred<void>()
  script.onRequest = async () => {
    await go.promise
    return [named('p1')]
  }
  const session = clientFor(t, [script], { clock }).open(registration)
  const answer = session.next(new AbortController().signal)
  for (let turn = 0; turn < 5; turn++) await clock.settle()
  await clock.pass(100 * headersTimeoutMs)
  go.resolve()
  assert.equal((await answer)?.is, 'parents')
  assert.equal(script.streams.length, 1)
})

import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { beatMs, deadBeats } from '../../src/task/pulse.ts'
import type { Answer } from '../../src/task/ports.ts'
import type { SimParent } from '../sim/parents.ts'
import { lost, parents, SimAnnouncer } from '../sim/scheduler.ts'
import { outcomeOf, pieceLength, SimWorld } from '../sim/world.ts'

/** In which a parent that answers to nothing is noticed, whatever was due at that time. */
const noticedMs = (deadBeats + 1) * beatMs

/** From now on it answers to nothing. */
function dies({ manners }: SimParent): void {
  Object.assign(manners, { reads: 'silent', feed: 'mute', alive: false })
}

/** A world in which `a` has told of everything, and answers to nothing any more when its first piece has come. */
function dyingWorld(pieceCount: number): { readonly world: SimWorld; readonly a: SimParent } {
  const world = new SimWorld(pieceCount)
  const a = world.parents.add('a', world.all)
  const read = world.parents.read.bind(world.parents)
  world.parents.read = async (...asked) => {
    if (world.sink.keptCount > 0) dies(a)
    return read(...asked)
  }
  return { world, a }
}

const asked = ({ session }: SimAnnouncer): readonly string[] =>
  session.told.filter((word) => word.startsWith('reschedule a'))

for (const originRanges of [true, false]) {
  test(`Run asks the scheduler, and on its order the origin, for what only a dead parent has (ranges: ${originRanges})`, async () => {
    const { world, a } = dyingWorld(12)
    const announcer = new SimAnnouncer([parents(a)], (session, named) => {
      session.answer(named.length > 0 ? { is: 'source' } : parents(a))
    })
    const run = world.run(announcer, { originRanges, concurrency: 1 })
    const share = run.join()
    await world.clock.until(() => world.origin.reads.length > 0)
    assert.ok(world.clock.now() <= noticedMs, `${world.clock.now()}`)
    assert.deepEqual(asked(announcer), ['reschedule a'])
    await world.clock.until(() => !run.open)
    await share.done
    world.checkContent()
    assert.equal(share.progress().bytesKept, world.cut.contentLength)
    if (originRanges) assert.equal(world.origin.reads.length, 11)
    await run.ended
    world.checkNothingOpen()
  })
}

for (const feed of ['mute', 'open'] as const) {
  test(`Run does not hope for a dead parent that has told nothing (feed: ${feed})`, async () => {
    const world = new SimWorld(2)
    const a = world.parents.add('a', [], { feed, alive: false })
    const announcer = new SimAnnouncer([parents(a)], (session, named) => {
      session.answer(named.length > 0 ? { is: 'source' } : parents(a))
    })
    const run = world.run(announcer)
    const share = run.join()
    await world.clock.until(() => world.origin.reads.length > 0)
    assert.ok(world.clock.now() <= noticedMs, `${world.clock.now()}`)
    await world.clock.until(() => !run.open)
    await share.done
  })
}

test('Run goes to the origin when all of its parents are dead', async () => {
  const world = new SimWorld(2)
  const all = ['a', 'b'].map((id) => world.parents.add(id, world.all))
  const announcer = new SimAnnouncer([parents(...all)], (session, named) => {
    session.answer(named.length > 0 ? { is: 'source' } : parents(...all))
  })
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.pass(2)
  for (const parent of all) dies(parent)
  await world.clock.until(() => !run.open)
  await share.done
  assert.ok(world.clock.now() <= 4 * noticedMs, `${world.clock.now()}`)
})

test('Run tells the scheduler of a dead parent at once, also while it hopes for another one', async () => {
  const world = new SimWorld(4)
  const a = world.parents.add('a', world.all)
  const b = world.parents.add('b', [], { feed: 'open' })
  const announcer = new SimAnnouncer([parents(a, b)], (session, named) => {
    session.answer(named.length > 0 ? { is: 'source' } : parents(a, b))
  })
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.pass(2)
  dies(a)
  await world.clock.until(() => world.origin.reads.length > 0)
  assert.ok(world.clock.now() <= noticedMs + 100, `${world.clock.now()}`)
  assert.deepEqual(asked(announcer), ['reschedule a'])
  await world.clock.until(() => !run.open)
  await share.done
})

const ends: readonly (readonly [name: string, answer: Answer | Error | undefined])[] = [
  ['is lost', lost()],
  ['ends the session', undefined],
]
for (const [name, answer] of ends) {
  test(`Run goes to the origin for what only a dead parent has when the scheduler ${name}`, async () => {
    const { world, a } = dyingWorld(2)
    const announcer = new SimAnnouncer([parents(a)])
    const run = world.run(announcer, { concurrency: 1 })
    const share = run.join()
    await world.clock.pass(100)
    announcer.session.answer(answer as Answer)
    await world.clock.until(() => !run.open)
    await share.done
    assert.ok(world.clock.now() <= noticedMs + 100, `${world.clock.now()}`)
  })
}

test('Run takes what a dead parent had from the one that the scheduler names, and leaves the origin alone', async () => {
  const { world, a } = dyingWorld(6)
  const b = world.parents.add('b', world.all)
  const announcer = new SimAnnouncer([parents(a)], (session, named) => {
    session.answer(parents(named.length > 0 ? b : a))
  })
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.ok(world.clock.now() <= noticedMs + 200, `${world.clock.now()}`)
  assert.equal(world.origin.reads.length, 0)
})

test('Run waits for a busy parent, which answers pings, and leaves scheduler and origin alone', async () => {
  const world = new SimWorld(2)
  const a = world.parents.add('a', world.all, { delayMs: 30_000 })
  const announcer = new SimAnnouncer([parents(a)])
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.equal(world.origin.reads.length, 0)
  assert.deepEqual([a.asked.length, asked(announcer).length], [2, 0])
  assert.ok(a.pings >= 18 && a.pings <= 20, `${a.pings}`)
  await run.ended
  world.checkNothingOpen()
})

test('Run pings nobody from whom pieces come', async () => {
  const world = new SimWorld(12)
  const a = world.parents.add('a', world.all, { delayMs: 1000, sendMs: 1000 })
  const run = world.run(new SimAnnouncer([parents(a)]), { concurrency: 1 })
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.ok(world.clock.now() > 4 * noticedMs)
  assert.equal(a.pings, 0)
})

test('Run keeps the piece of a parent that answers no ping and sends in time', async () => {
  const world = new SimWorld(1)
  const a = world.parents.add('a', [0], { delayMs: 3000, sendMs: 3000, alive: false })
  const run = world.run(new SimAnnouncer([parents(a)]))
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.equal(world.sink.parentOf(0), 'a')
  assert.equal(world.origin.reads.length, 0)
})

test('Run that stood still itself blames no parent for it', async () => {
  const world = new SimWorld(1)
  const a = world.parents.add('a', [0], { delayMs: 20_000 })
  let answer = (): void => undefined
  world.parents.ping = () => {
    // The first one gets no answer in time.
    if (a.pings++ > 0) return Promise.resolve()
    return new Promise((resolve) => {
      answer = resolve
    })
  }
  const run = world.run(new SimAnnouncer([parents(a)]))
  const share = run.join()
  await world.clock.pass(beatMs * (deadBeats - 0.5))
  assert.equal(a.pings, 1)
  // The clock jumps, as when a process was stopped: the timers come first, and what has arrived meanwhile is read after them.
  const now = world.clock.now.bind(world.clock)
  world.clock.now = () => now() + 5000
  await world.clock.pass(beatMs)
  answer()
  await world.clock.until(() => !run.open)
  await share.done
  assert.equal(world.origin.reads.length, 0)
  assert.equal(a.asked.length, 1)
})

test('Run that may not go to the origin waits for a parent that stands still', async () => {
  const world = new SimWorld(1)
  const a = world.parents.add('a', [0], { delayMs: 20_000, alive: false })
  const run = world.run(new SimAnnouncer([parents(a)]), { backToSource: 'never' })
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.deepEqual([a.asked.length, a.pings], [1, 0])
  assert.equal(share.progress().peerBytes, pieceLength - 3)
})

test('Run that may not go to the origin, and whose parent never comes back, fails as before', async () => {
  const { world, a } = dyingWorld(2)
  const announcer = new SimAnnouncer([parents(a)], (session) => session.answer(parents(a)))
  const run = world.run(announcer, { backToSource: 'never', concurrency: 1, pieceTimeoutMs: 5000 })
  const seen = outcomeOf(run.join().done)
  await world.clock.until(() => !run.open)
  assert.ok(PeerError.is(seen.error, 'NO_PARENTS'))
  assert.equal(a.pings, 0)
})

import assert from 'node:assert/strict'
import test from 'node:test'
import { pulseMs } from '../../src/task/pulse.ts'
import type { Answer } from '../../src/task/ports.ts'
import { lost, parents, SimAnnouncer } from '../sim/scheduler.ts'
import type { SimParent } from '../sim/parents.ts'
import { pieceLength, SimWorld } from '../sim/world.ts'

/** Patience with a piece, and the time in which a parent says that it is there. */
const noticedMs = 1500 + pulseMs

/** From now on it answers to nothing. */
function dies({ manners }: SimParent): void {
  Object.assign(manners, { reads: 'silent', feed: 'mute' })
}

/** A world in which `a` has told of everything, and answers to nothing any more when its first piece has come. */
function dyingWorld(pieceCount: number): { world: SimWorld; a: SimParent } {
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
  test(`Run asks the scheduler, and on its order the origin, within 2 s for what only a dead parent has (ranges: ${originRanges})`, async () => {
    const { world } = dyingWorld(12)
    const announcer = new SimAnnouncer([parents(world.parents.get('a'))], (session, named) => {
      session.answer(named.length > 0 ? { is: 'source' } : parents(world.parents.get('a')))
    })
    const run = world.run(announcer, { originRanges, concurrency: 1 })
    const share = run.join()
    await world.clock.until(() => world.origin.reads.length > 0)
    assert.ok(world.clock.now() <= noticedMs + 50, `${world.clock.now()}`)
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

const others: readonly (readonly [name: string, answer: Answer | Error | undefined])[] = [
  ['is lost', lost()],
  ['ends the session', undefined],
]
for (const [name, answer] of others) {
  test(`Run goes to the origin for what only a dead parent has when the scheduler ${name}`, async () => {
    const { world } = dyingWorld(2)
    const announcer = new SimAnnouncer([parents(world.parents.get('a'))])
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
  const { world } = dyingWorld(6)
  const b = world.parents.add('b', world.all)
  const announcer = new SimAnnouncer([parents(world.parents.get('a'))], (session, named) => {
    session.answer(parents(named.length > 0 ? b : world.parents.get('a')))
  })
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.ok(world.clock.now() <= noticedMs + 200, `${world.clock.now()}`)
  assert.equal(world.origin.reads.length, 0)
})

test('Run tells the scheduler of a dead parent also while it hopes for another one', async () => {
  const { world } = dyingWorld(4)
  const b = world.parents.add('b', [], { feed: 'open' })
  const a = world.parents.get('a')
  const announcer = new SimAnnouncer([parents(a, b)], (session, named) => {
    session.answer(named.length > 0 ? { is: 'source' } : parents(a, b))
  })
  const run = world.run(announcer, { concurrency: 1 })
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.ok(world.clock.now() <= noticedMs + 300, `${world.clock.now()}`)
  assert.deepEqual(asked(announcer), ['reschedule a'])
})

test('Run waits for a busy parent, which answers, and leaves scheduler and origin alone', async () => {
  const world = new SimWorld(2)
  const a = world.parents.add('a', world.all, { delayMs: 30_000 })
  const announcer = new SimAnnouncer([parents(a)])
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.equal(world.origin.reads.length, 0)
  assert.equal(a.asked.length, 2)
  assert.deepEqual(asked(announcer), [])
  // Once, and then at 1.5, 3.5, 7.5, 15.5 and 23.5 s.
  assert.equal(a.feedsOpened, 6)
  await run.ended
  world.checkNothingOpen()
})

test('Run asks a busy parent again, and notices when it dies later', async () => {
  const world = new SimWorld(1)
  const a = world.parents.add('a', [0], { reads: 'silent' })
  const announcer = new SimAnnouncer([parents(a)], (session) => session.answer({ is: 'source' }))
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.pass(5000)
  assert.equal(world.origin.reads.length, 0)
  dies(a)
  await world.clock.until(() => !run.open)
  await share.done
  assert.ok(world.clock.now() <= 9000, `${world.clock.now()}`)
})

test('Run keeps the piece of a parent that comes back while it is asked whether it is there', async () => {
  const world = new SimWorld(1)
  const a = world.parents.add('a', [0], { delayMs: noticedMs - 100 })
  const announcer = new SimAnnouncer([parents(a)])
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.pass(100)
  Object.assign(a.manners, { feed: 'mute' })
  await world.clock.until(() => !run.open)
  await share.done
  assert.equal(world.sink.parentOf(0), 'a')
  assert.equal(world.origin.reads.length, 0)
  await run.ended
  world.checkNothingOpen()
})

test('Run that may not go to the origin waits for a parent that stands still', async () => {
  const world = new SimWorld(1)
  const a = world.parents.add('a', [0], { delayMs: 20_000 })
  const run = world.run(new SimAnnouncer([parents(a)]), { backToSource: 'never' })
  const share = run.join()
  await world.clock.pass(100)
  Object.assign(a.manners, { feed: 'mute' })
  await world.clock.until(() => !run.open)
  await share.done
  assert.deepEqual([a.asked.length, a.feedsOpened], [1, 1])
  assert.equal(share.progress().peerBytes, pieceLength - 3)
})

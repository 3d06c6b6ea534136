import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import type { Answer } from '../../src/task/ports.ts'
import type { Run } from '../../src/task/run.ts'
import { doubtMs } from '../../src/task/rescue.ts'
import { parents, SimAnnouncer } from '../sim/scheduler.ts'
import type { SimParent } from '../sim/parents.ts'
import { outcomeOf, SimWorld } from '../sim/world.ts'

const version = 'wanted'

/** A scheduler that names one and knows the other. */
function announcerOf(named: SimParent, met: SimParent, later: Answer): SimAnnouncer {
  return new SimAnnouncer(
    [parents(named)],
    (session) => session.answer(later),
    (id) => (id === met.parent.id ? met.parent : undefined),
  )
}

/** The run meets the child, and gets everything, all of it right. */
async function completes(world: SimWorld, run: Run): Promise<void> {
  const share = run.join()
  run.meet('child')
  await world.clock.until(() => !run.open)
  await share.done
  world.checkContent()
}

test('Run.meet() takes pieces of a child, tells the scheduler of whom they are, and tells the feeds its own name', async () => {
  const world = new SimWorld(6)
  const named = world.parents.add('named', [0, 1, 2], { feed: 'open', version })
  const child = world.parents.add('child', [3, 4, 5], { feed: 'open', version })
  const announcer = announcerOf(named, child, parents(named))
  const run = world.run(announcer, { backToSource: 'never' })
  run.meet('before anything is wanted')
  const share = run.join()
  await world.clock.until(() => world.sink.keptCount === 3)
  run.meet('child')
  await world.clock.until(() => !run.open)
  await share.done
  world.checkContent()
  const from = announcer.session.reports.map(({ parentId }) => parentId)
  assert.deepEqual(from.toSorted(), ['child', 'child', 'child', 'named', 'named', 'named'])
  assert.deepEqual([...child.namedBy, ...named.namedBy], ['peer-1', 'peer-1'])
  run.meet('child')
  await run.ended
  world.checkNothingOpen()
})

test('Run does not hope for a child that only promises: it goes to the origin as if there were none', async () => {
  const times: number[] = []
  for (const meets of [false, true]) {
    const world = new SimWorld(4)
    const named = world.parents.add('named', [0, 1], { feed: 'ends' })
    const child = world.parents.add('child', [], { feed: 'open' })
    const run = world.run(announcerOf(named, child, { is: 'source' }), { version })
    const share = run.join()
    if (meets) run.meet('child')
    await world.clock.until(() => !run.open)
    await share.done
    times.push(world.clock.now())
    assert.equal(child.feedsOpened > 0, meets)
  }
  assert.deepEqual(times[0], times[1])
  assert.ok((times[1] ?? doubtMs) < doubtMs, times.join())
})

test('Run that is lost but for a child that promises fails as if there were none, and blames only whom it was named', async () => {
  const world = new SimWorld(4)
  const named = world.parents.add('named', [0, 1], { feed: 'ends' })
  const child = world.parents.add('child', [], { feed: 'open' })
  const announcer = announcerOf(named, child, { is: 'empty' })
  const run = world.run(announcer, { backToSource: 'never', version })
  const seen = outcomeOf(run.join().done)
  run.meet('child')
  await world.clock.until(() => !run.open)
  assert.ok(PeerError.is(seen.error, 'NO_PARENTS'))
  const asked = announcer.session.told.filter((word) => word.startsWith('reschedule'))
  assert.ok(asked.length > 0)
  assert.deepEqual(new Set(asked), new Set(['reschedule named']))
})

test('Run takes what a child gets meanwhile, while its parent is silent', async () => {
  const world = new SimWorld(8)
  const named = world.parents.add('named', world.all, { reads: 'silent', feed: 'open' })
  const child = world.parents.add('child', [], { feed: 'open', version })
  const run = world.run(announcerOf(named, child, parents(named)), {
    backToSource: 'never',
    version,
  })
  const share = run.join()
  run.meet('child')
  await world.clock.pass(100)
  child.gets(...world.all)
  await world.clock.until(() => !run.open)
  await share.done
  world.checkContent()
  assert.ok(world.clock.now() < 20_000, `${world.clock.now()}`)
})

test('Run ends when what it asks of the scheduler about a child breaks', async () => {
  const world = new SimWorld(4)
  const named = world.parents.add('named', [], { feed: 'open' })
  const bug = new TypeError('Simulated')
  const announcer = new SimAnnouncer([parents(named)], undefined, () => {
    throw bug
  })
  const run = world.run(announcer, { version })
  const seen = outcomeOf(run.join().done)
  run.meet('child')
  await run.ended
  assert.equal(seen.error, bug)
})

test('Run takes nothing of a child that does not tell the version that it wants', async () => {
  for (const told of [undefined, 'other', version]) {
    const world = new SimWorld(4)
    const named = world.parents.add('named', [0, 1], { feed: 'open', version })
    const child = world.parents.add('child', [2, 3], { feed: 'open', version: told })
    const run = world.run(announcerOf(named, child, { is: 'source' }), { version })
    await completes(world, run)
    assert.equal(child.asked.length, told === version ? 2 : 0, told)
  }
})

test('Run lets no child decide which version it takes', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const world = new SimWorld(4)
    const named = world.parents.add('named', world.all, { feed: 'open', version })
    const child = world.parents.add('child', [2], { feed: 'open', version: 'other', content: 1 })
    const run = world.run(
      announcerOf(named, child, parents(named)),
      { backToSource: 'never' },
      seed,
    )
    await completes(world, run)
    assert.equal(child.asked.length, 0)
  }
})

test('Run is not taken for outdated because of a child that has another version', async () => {
  for (const manners of [{ version: 'other' }, { feed: 'changed' }] as const) {
    const world = new SimWorld(4)
    const named = world.parents.add('named', [0, 1], { feed: 'ends', version })
    const child = world.parents.add('child', [2], { feed: 'open', ...manners })
    const run = world.run(announcerOf(named, child, { is: 'empty' }), {
      backToSource: 'never',
      version,
    })
    const seen = outcomeOf(run.join().done)
    run.meet('child')
    await world.clock.until(() => !run.open)
    assert.ok(PeerError.is(seen.error, 'NO_PARENTS'), String(seen.error))
    assert.equal(run.outdated, 'maybe')
  }
})

test('Run believes a child once it is named as it believes any parent', async () => {
  const world = new SimWorld(4)
  const named = world.parents.add('named', [0, 1], { feed: 'open', version })
  const child = world.parents.add('child', [2, 3], { feed: 'open' })
  const run = world.run(announcerOf(named, child, parents(named, child)), {
    backToSource: 'never',
    version,
  })
  await completes(world, run)
  assert.equal(child.asked.length, 2)
  assert.ok(world.clock.now() < 5000, `${world.clock.now()}`)
})

test('Run does not wait long for a child that told of pieces and is silent, where there is the origin', async () => {
  for (const reads of ['silent', 'stuck'] as const) {
    const world = new SimWorld(4)
    const named = world.parents.add('named', [0, 1], { feed: 'open', version })
    const child = world.parents.add('child', [2, 3], { feed: 'open', version, reads })
    const run = world.run(announcerOf(named, child, { is: 'source' }), { version })
    await completes(world, run)
    assert.ok(child.asked.length > 0)
    assert.ok(world.clock.now() < 30_000, `${reads} ${world.clock.now()}`)
  }
})

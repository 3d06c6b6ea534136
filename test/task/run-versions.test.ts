import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { versionToken } from '../../src/hash/version.ts'
import type { Manners } from '../sim/parents.ts'
import { parents, SimAnnouncer } from '../sim/scheduler.ts'
import { outcomeOf, SimWorld } from '../sim/world.ts'

const never = { backToSource: 'never' } as const
const own = (version: number): Partial<Manners> => ({
  version: versionToken(`v${version}`),
  digests: true,
  content: version,
})

/** Which contents the kept pieces are of. */
function contentsOf(world: SimWorld): Set<number> {
  const found = new Set<number>()
  for (const number of world.all) {
    if (!world.sink.has(number)) continue
    const from = world.sink.parentOf(number) ?? ''
    found.add(world.parents.get(from).manners.content)
  }
  return found
}

test('Run takes pieces of one version only, of whichever it gets the first', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const world = new SimWorld(8)
    const old = world.parents.add('old', world.all, own(1))
    const fresh = world.parents.add('fresh', world.all, own(2))
    const run = world.run(new SimAnnouncer([parents(old, fresh)]), never, seed)
    const share = run.join()
    await world.clock.until(() => !run.open)
    await share.done
    assert.equal(contentsOf(world).size, 1)
    assert.equal(run.outdated, 'no')
    await run.ended
    world.checkNothingOpen()
  }
})

test('Run takes nothing of a parent that has another content than it told of, and fails as outdated', async () => {
  const world = new SimWorld(4)
  const a = world.parents.add('a', world.all, own(1))
  const run = world.run(new SimAnnouncer([parents(a)]), { ...never, concurrency: 1 })
  const share = run.join()
  const outcome = outcomeOf(share.done)
  await world.clock.until(() => world.sink.keptCount === 1)
  // The feed has ended: nothing but the piece itself can tell.
  Object.assign(a.manners, own(2))
  await world.clock.until(() => !run.open)
  await run.ended
  assert.ok(PeerError.is(outcome.error, 'ORIGIN_CHANGED'))
  assert.equal(world.sink.keptCount, 1)
  assert.equal(run.outdated, 'yes')
})

test('Run that kept a part of a version which nobody has any more says so', async () => {
  const world = new SimWorld(4)
  world.sink.preset([0, 1])
  const fresh = world.parents.add('fresh', world.all, own(2))
  const version = versionToken('v1')
  const run = world.run(new SimAnnouncer([parents(fresh)]), { ...never, version })
  const outcome = outcomeOf(run.join().done)
  await world.clock.until(() => !run.open)
  await run.ended
  assert.ok(PeerError.is(outcome.error, 'ORIGIN_CHANGED'))
  assert.equal(run.outdated, 'yes')
  assert.equal(fresh.asked.length, 0)
})

test('Run without parents does not know whether what is kept is outdated', async () => {
  const world = new SimWorld(4)
  const run = world.run(new SimAnnouncer([parents()]), never)
  const outcome = outcomeOf(run.join().done)
  await world.clock.until(() => !run.open)
  await run.ended
  assert.ok(PeerError.is(outcome.error, 'NO_PARENTS'))
  assert.equal(run.outdated, 'maybe')
})

test('Run does not call its pieces outdated when the origin can say what is right', async () => {
  const world = new SimWorld(4)
  const other = world.parents.add('other', world.all, own(2))
  const run = world.run(new SimAnnouncer([parents(other)]), { version: versionToken('v1') })
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.equal(run.outdated, 'no')
  assert.equal(other.asked.length, 0)
  world.checkContent()
})

test('Run asks the origin for its version before the first byte when nobody has asked it', async () => {
  const world = new SimWorld(3)
  world.origin.manners.validator = 'v1'
  const kept: string[] = []
  const run = world.run(new SimAnnouncer([{ is: 'source' }]), { originAsked: false }, 1, {
    keepVersion: (version) => {
      kept.push(version)
      return Promise.resolve()
    },
  })
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.deepEqual(kept, [versionToken('v1')])
  assert.ok(world.origin.reads.every(({ validator }) => validator === 'v1'))
  world.checkContent()
})

import assert from 'node:assert/strict'
import test from 'node:test'
import { pieceAt } from '../../src/task/piece.ts'
import { Seat } from '../../src/task/share.ts'
import { parents, SimAnnouncer } from '../sim/scheduler.ts'
import { outcomeOf, SimWorld } from '../sim/world.ts'

test('Run tells everybody who waits of pieces that came to be kept without it, when one more joins', async () => {
  const world = new SimWorld(4)
  const a = world.parents.add('a', [], { feed: 'open' })
  const run = world.run(new SimAnnouncer([parents(a)]), { backToSource: 'never' })
  const first = run.join()
  const waited = first.wait(3)
  await world.clock.pass(1000)
  world.sink.preset(world.all)
  const second = run.join()
  await world.clock.settle()
  assert.equal(run.open, false)
  await Promise.all([first.done, second.done, waited, run.ended])
  for (const share of [first, second]) {
    assert.equal(share.progress().localBytes, world.cut.contentLength)
  }
  world.checkNothingOpen()
})

test('Run that waits for parents sees that what it waits for has come to be kept without it', async () => {
  const world = new SimWorld(4)
  const a = world.parents.add('a', [], { feed: 'open' })
  const run = world.run(new SimAnnouncer([parents(a)]), { backToSource: 'never' })
  const share = run.join()
  await world.clock.pass(1000)
  world.sink.preset(world.all)
  await world.clock.until(() => !run.open)
  await share.done
  assert.ok(world.clock.now() <= 10_000, `${world.clock.now()}`)
})

test('Share counts a piece once that is here before its job has told', async () => {
  const world = new SimWorld(3)
  const has = new Set([1])
  const seat = seatOf(world, has)
  const done = outcomeOf(seat.done)
  for (const number of [1, 0, 1, 0]) seat.onKept(pieceAt(world.cut, number), 'peer')
  await world.clock.settle()
  assert.equal(done.settled, false)
  assert.deepEqual([seat.progress().piecesKept, seat.progress().localBytes], [2, 10])
  seat.onKept(pieceAt(world.cut, 2), 'peer')
  await seat.done
})

test('Share wakes who waits for a piece that came again, and does not count it twice', async () => {
  const world = new SimWorld(3)
  const has = new Set<number>()
  const seat = seatOf(world, has)
  seat.onKept(pieceAt(world.cut, 0), 'peer')
  const waited = seat.wait(0)
  seat.onKept(pieceAt(world.cut, 0), 'peer')
  await waited
  assert.equal(seat.progress().piecesKept, 1)
})

test('Share lets nobody wait for a piece that was dropped when all of them had come', async () => {
  const world = new SimWorld(2)
  const seat = seatOf(world, new Set())
  seat.onKept(pieceAt(world.cut, 0), 'peer')
  const waited = assert.rejects(seat.wait(0), { code: 'CLOSED' })
  seat.onKept(pieceAt(world.cut, 1), 'peer')
  await Promise.all([seat.done, waited])
})

function seatOf({ cut }: SimWorld, has: ReadonlySet<number>): Seat {
  const idle = { urge: () => undefined, leave: () => undefined }
  return new Seat({ cut, has: (number) => has.has(number), ...idle }, undefined)
}

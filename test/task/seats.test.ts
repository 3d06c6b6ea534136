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
  const seat = new Seat(
    {
      cut: world.cut,
      has: (number) => has.has(number),
      urge: () => undefined,
      leave: () => undefined,
    },
    undefined,
  )
  const done = outcomeOf(seat.done)
  for (const number of [1, 0, 1, 0]) seat.onKept(pieceAt(world.cut, number), 'peer')
  await world.clock.settle()
  assert.equal(done.settled, false)
  assert.deepEqual([seat.progress().piecesKept, seat.progress().localBytes], [2, 10])
  seat.onKept(pieceAt(world.cut, 2), 'peer')
  await seat.done
})

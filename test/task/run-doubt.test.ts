import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import type { Have, Parent } from '../../src/task/ports.ts'
import { moreQuestionsMax } from '../../src/task/dialogue.ts'
import { doubtMs } from '../../src/task/rescue.ts'
import { Run } from '../../src/task/run.ts'
import { never as silence, seeded } from '../sim/clock.ts'
import { spec } from '../sim/content.ts'
import { parents, SimAnnouncer } from '../sim/scheduler.ts'
import { outcomeOf, SimWorld } from '../sim/world.ts'

const asked = ({ session }: SimAnnouncer): readonly string[] =>
  session.told.filter((word) => word.startsWith('reschedule'))

test('Run asks the scheduler, blaming nobody, when its parents only promise', async () => {
  const world = new SimWorld(4)
  const a = world.parents.add('a', [0, 1], { feed: 'open' })
  const announcer = new SimAnnouncer([parents(a)], (session) => session.answer({ is: 'source' }))
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  // The first question is one for more parents, and its answer no order.
  assert.deepEqual(asked(announcer), ['reschedule ', 'reschedule '])
  assert.ok(world.clock.now() < 2 * doubtMs, `${world.clock.now()}`)
})

test('Run names those who are given up when it asks because the others only promise', async () => {
  const world = new SimWorld(4)
  const a = world.parents.add('a', [0, 1], { feed: 'open' })
  const b = world.parents.add('b', world.all, { feed: 'lies' })
  const announcer = new SimAnnouncer([parents(a, b)], (session) => session.answer(parents(a)))
  const run = world.run(announcer)
  run.join()
  await world.clock.pass(doubtMs * 1.5)
  assert.equal(asked(announcer).at(-1), 'reschedule b')
  run.cancel('stop')
  await run.ended
})

test('Run asks because of doubts a few times only, however slowly pieces come', async () => {
  const world = new SimWorld(40)
  const a = world.parents.add('a', [], { feed: 'open' })
  const announcer = new SimAnnouncer([parents(a)], (session) => session.answer(parents(a)))
  const run = world.run(announcer, { backToSource: 'never' })
  const share = run.join()
  for (const number of world.all) {
    await world.clock.pass(doubtMs * 1.3)
    a.gets(number)
  }
  await world.clock.until(() => !run.open)
  await share.done
  assert.equal(asked(announcer).length, 1 + moreQuestionsMax)
})

test('Run hopes no longer for others when the content has changed at the origin', async () => {
  const world = new SimWorld(4)
  const a = world.parents.add('a', [0, 1], { feed: 'open' })
  const announcer = new SimAnnouncer([parents(a)], (session) => session.answer({ is: 'source' }))
  const change = { url: '', what: 'etag', expected: 'a', actual: 'b' } as const
  world.origin.manners.errors = Array.from(
    { length: 20 },
    () => new PeerError('ORIGIN_CHANGED', 'Simulated', change),
  )
  const run = world.run(announcer)
  const seen = outcomeOf(run.join().done)
  await world.clock.until(() => !run.open)
  assert.ok(PeerError.is(seen.error, 'ORIGIN_CHANGED'))
  assert.ok(world.clock.now() < 60_000, `${world.clock.now()}`)
})

test('Run forgets what a parent told that has dropped the task, and reads nothing of it', async () => {
  const world = new SimWorld(6)
  const a = world.parents.add('a', [], { sendMs: 2000 })
  const tells: number[][] = [[0, 1, 2, 3, 4, 5], [5]]
  const feed = {
    async watch(
      _parent: Parent,
      _request: unknown,
      onHave: (have: Have) => void,
      signal: AbortSignal,
    ): Promise<void> {
      const told = tells.shift()
      if (told === undefined) await silence(signal)
      const endpoint = { ip: '127.0.0.1', tcpPort: 4001 }
      for (const number of told ?? []) {
        onHave({ number, offset: number * 10, length: number === 5 ? 7 : 10, endpoint })
      }
      await world.clock.sleep(500, signal)
      throw new PeerError('TASK_NOT_FOUND', 'Dropped', { task: spec.id })
    },
  }
  const run = new Run(
    spec,
    world.sink,
    { backToSource: 'never', concurrency: 2 },
    {
      announcer: new SimAnnouncer([parents(a)]),
      feed,
      reader: world.parents,
      clock: world.clock,
      random: seeded(1),
      newPeerId: () => 'peer',
    },
  )
  run.join()
  await world.clock.pass(900)
  // Two reads were under way, and have been stopped.
  assert.equal(a.asked.length, 2)
  assert.equal(a.reading, 0)
  await world.clock.pass(500)
  assert.deepEqual(
    a.asked.slice(2).map(({ number }) => number),
    [5],
  )
  run.cancel('stop')
  await run.ended
})

import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import type { HookName } from '../../src/hooks.ts'
import { parents, SimAnnouncer } from '../sim/scheduler.ts'
import { outcomeOf, SimWorld } from '../sim/world.ts'

test('Run.cancel() rejects everything with the reason, unchanged, and frees everything at once', async () => {
  const world = new SimWorld(20)
  const a = world.parents.add('a', world.all, { reads: 'stuck', delayMs: 0, feed: 'open' })
  const announcer = new SimAnnouncer([parents(a), { is: 'source' }])
  const run = world.run(announcer)
  const share = run.join()
  const done = outcomeOf(share.done)
  const waiting = outcomeOf(share.wait(7))
  await world.clock.pass(100)
  assert.ok(world.sink.openSlots > 0 && a.reading > 0 && a.feeds === 1)
  const reason = { any: 'reason' }
  run.cancel(reason)
  await run.ended
  assert.equal(done.error, reason)
  assert.equal(waiting.error, reason)
  assert.equal(announcer.session.told.at(-1), 'end failed ABORTED')
  world.checkNothingOpen()
  assert.equal(world.clock.now(), 100)
})

test('Run.cancel() frees the origin too, in both ways of reading it', async () => {
  for (const originRanges of [true, false]) {
    const world = new SimWorld(20, { slotsMax: 2 })
    const run = world.run(new SimAnnouncer([{ is: 'source' }]), { originRanges })
    run.join()
    await world.clock.pass(17)
    assert.ok(world.sink.openSlots > 0 && world.origin.open > 0)
    run.cancel('stop')
    await run.ended
    world.checkNothingOpen()
  }
})

test('Run.cancel() before the first join and after the end does nothing', async () => {
  const world = new SimWorld(2)
  const announcer = new SimAnnouncer([])
  const early = world.run(announcer)
  early.cancel('x')
  await early.ended
  assert.throws(
    () => early.join(),
    (error) => PeerError.is(error, 'CLOSED'),
  )
  assert.equal(announcer.sessions.length, 0)

  const run = world.run(new SimAnnouncer([{ is: 'source' }]))
  const share = run.join()
  await world.clock.until(() => !run.open)
  run.cancel('late')
  await share.done
  assert.equal(run.explain().state, 'ended')
})

test('Run is shared by two downloads of one task: one session, each piece once', async () => {
  const world = new SimWorld(20)
  const a = world.parents.add('a', world.all)
  const announcer = new SimAnnouncer([parents(a)])
  const run = world.run(announcer)
  const one = run.join()
  await world.clock.until(() => world.sink.keptCount > 5)
  const other = run.join()
  const kept = world.sink.keptCount
  assert.equal(other.progress().localBytes, kept * 10)
  await world.clock.until(() => !run.open)
  await Promise.all([one.done, other.done])
  assert.equal(announcer.sessions.length, 1)
  assert.equal(a.asked.length, 20)
  assert.equal(one.progress().peerBytes, world.cut.contentLength)
  assert.equal(other.progress().peerBytes, world.cut.contentLength - kept * 10)
})

test('Share.leave() of one leaves the other alone; of the last one cancels the run', async () => {
  const world = new SimWorld(20)
  const a = world.parents.add('a', world.all, { sendMs: 100, feed: 'open' })
  const announcer = new SimAnnouncer([parents(a)])
  const run = world.run(announcer)
  const one = run.join()
  const other = run.join()
  const seen = outcomeOf(one.done)
  await world.clock.until(() => world.sink.keptCount > 4)
  one.leave('enough')
  one.leave('again')
  await world.clock.settle()
  assert.equal(seen.error, 'enough')
  await assert.rejects(one.wait(19), (error) => error === 'enough')
  await world.clock.until(() => world.sink.keptCount > 10)
  other.leave()
  await run.ended
  await assert.rejects(other.done, (error) => PeerError.is(error, 'CLOSED'))
  assert.equal(announcer.session.told.at(-1), 'end failed CLOSED')
  world.checkNothingOpen()
})

test('Share.leave() stops what nobody else wants', async () => {
  const world = new SimWorld(40)
  const a = world.parents.add('a', world.all, { sendMs: 50 })
  const run = world.run(new SimAnnouncer([parents(a)]))
  const all = run.join()
  const part = run.join({ start: 200, length: 100 })
  all.done.catch(() => undefined)
  await world.clock.pass(20)
  assert.equal(a.reading, 8)
  const inPart = a.asked.filter(({ number }) => number >= 20 && number < 30).length
  all.leave('enough')
  await world.clock.settle()
  assert.ok(a.asked.slice(8).every(({ number }) => number >= 20 && number < 30))
  assert.equal(a.asked.length - 8, 8 - inPart)
  assert.equal(a.reading, 8)
  await world.clock.until(() => !run.open)
  await part.done
  await run.ended
  for (let number = 20; number < 30; number++) assert.ok(world.sink.has(number))
  assert.ok(world.sink.keptCount <= 18, `${world.sink.keptCount}`)
  assert.equal(run.open, false)
  world.checkNothingOpen()
})

test('Share.leave() of a whole share when everything has just been kept is no failure of the run', async () => {
  const world = new SimWorld(3)
  const a = world.parents.add('a', world.all)
  const announcer = new SimAnnouncer([parents(a)])
  const run = world.run(announcer)
  const share = run.join()
  share.onProgress(({ piecesKept, piecesTotal }) => {
    if (piecesKept === piecesTotal) share.leave('now')
  })
  await world.clock.until(() => !run.open)
  await run.ended
  assert.equal(announcer.session.told.at(-1), 'end done')
})

test('Run.join() with a range fetches the pieces of the range, and tells the scheduler', async () => {
  const world = new SimWorld(20)
  const a = world.parents.add('a', world.all)
  const announcer = new SimAnnouncer([parents(a)])
  const run = world.run(announcer)
  const range = { start: 25, length: 20 }
  const share = run.join(range)
  await world.clock.until(() => !run.open)
  await share.done
  assert.deepEqual(a.asked.map(({ number }) => number).sort(), [2, 3, 4])
  assert.deepEqual(announcer.session.registration.range, range)
  assert.deepEqual(share.progress(), {
    bytesTotal: 30,
    bytesKept: 30,
    sourceBytes: 0,
    peerBytes: 30,
    localBytes: 0,
    piecesTotal: 3,
    piecesKept: 3,
  })
})

test('Run.join() with another range later asks the parents for that too', async () => {
  const world = new SimWorld(20)
  const a = world.parents.add('a', world.all, { sendMs: 200 })
  const b = world.parents.add('b', world.all, { sendMs: 200, feed: 'open' })
  const run = world.run(new SimAnnouncer([parents(a, b)]))
  const first = run.join({ start: 0, length: 60 })
  await world.clock.pass(100)
  const second = run.join({ start: 100, length: 50 })
  await world.clock.until(() => !run.open)
  await Promise.all([first.done, second.done])
  const asked = [...a.asked, ...b.asked].map(({ number }) => number)
  assert.deepEqual(
    asked.sort((one, other) => one - other),
    [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14],
  )
  assert.deepEqual([a.feedsOpened, b.feedsOpened], [2, 2])
  world.checkNothingOpen()
})

test('Run.join() resolves a share whose pieces are kept while others are still fetched', async () => {
  const world = new SimWorld(20)
  world.sink.preset([4, 5])
  const a = world.parents.add('a', world.all, { sendMs: 500 })
  const run = world.run(new SimAnnouncer([parents(a)]))
  const all = run.join()
  const part = run.join({ start: 45, length: 10 })
  await part.done
  part.leave()
  await part.done
  assert.equal(run.open, true)
  await world.clock.until(() => !run.open)
  await all.done
})

test('Run.join() throws for a range that is not in the content, and nothing has happened then', () => {
  const world = new SimWorld(2)
  const run = world.run(new SimAnnouncer([]))
  for (const range of [
    { start: 17, length: 1 },
    { start: 0, length: 0 },
    { start: -1, length: 5 },
  ]) {
    assert.throws(() => run.join(range), RangeError)
  }
  assert.deepEqual([run.explain().state, run.explain().shares], ['idle', 0])
})

test('Run of a task without content is done at once', async () => {
  const world = new SimWorld(0.3)
  assert.equal(world.cut.contentLength, 0)
  const announcer = new SimAnnouncer([])
  const run = world.run(announcer)
  await run.join().done
  await run.ended
  assert.equal(announcer.sessions.length, 0)
})

test('Share.wait() brings its piece before others', async () => {
  const world = new SimWorld(40)
  const a = world.parents.add('a', world.all, { delayMs: 10, sendMs: 0 })
  const run = world.run(new SimAnnouncer([parents(a)]), { concurrency: 1 })
  const share = run.join()
  await world.clock.until(() => world.sink.keptCount > 0)
  for (const number of [31, 7, 19]) {
    if (world.sink.has(number)) continue
    const kept = world.sink.keptCount
    const seen = outcomeOf(share.wait(number))
    await world.clock.until(() => seen.settled)
    // At most the one that was under way came before it.
    assert.ok(world.sink.keptCount <= kept + 2)
    await share.wait(number)
  }
  assert.throws(() => share.wait(40), RangeError)
  run.cancel('enough')
})

test('Share.onProgress() is called after each piece, until it is taken back', async () => {
  const world = new SimWorld(5)
  const a = world.parents.add('a', world.all)
  const run = world.run(new SimAnnouncer([parents(a)]), { concurrency: 1 })
  const share = run.join()
  const all: number[] = []
  const some: number[] = []
  share.onProgress(({ bytesKept }) => all.push(bytesKept))
  const stop = share.onProgress(({ piecesKept }) => {
    some.push(piecesKept)
    if (piecesKept === 2) stop()
  })
  await world.clock.until(() => !run.open)
  assert.equal(all.length, 5)
  assert.equal(all.at(-1), world.cut.contentLength)
  assert.deepEqual(some, [1, 2])
})

test('Share.onProgress() with a listener that throws ends that share and no other', async () => {
  const world = new SimWorld(5)
  const a = world.parents.add('a', world.all)
  const run = world.run(new SimAnnouncer([parents(a)]))
  const bad = run.join()
  const good = run.join()
  const cause = new Error('mine')
  bad.onProgress(() => {
    throw cause
  })
  const seen = outcomeOf(bad.done)
  await world.clock.until(() => !run.open)
  await good.done
  assert.ok(PeerError.is(seen.error, 'FOREIGN'))
  assert.equal(seen.error.cause, cause)
})

test('Run publishes what happens, without anything secret', async (t) => {
  const world = new SimWorld(4)
  const seen: string[] = []
  const raw: unknown[] = []
  const names: readonly HookName[] = [
    'dragonfly-peer:task:started',
    'dragonfly-peer:task:finished',
    'dragonfly-peer:task:failed',
    'dragonfly-peer:piece:kept',
    'dragonfly-peer:piece:failed',
    'dragonfly-peer:parent:dropped',
  ]
  for (const name of names) {
    const note = (message: unknown): void => {
      raw.push(message)
      seen.push(name.slice('dragonfly-peer:'.length))
    }
    subscribe(name, note)
    t.after(() => unsubscribe(name, note))
  }
  const bad = world.parents.add('bad', [0], { reads: 'wrong' })
  const announcer = new SimAnnouncer([parents(bad)], (session) => session.answer({ is: 'source' }))
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.deepEqual([seen[0], seen.at(-1)], ['task:started', 'task:finished'])
  assert.equal(seen.filter((name) => name === 'piece:failed').length, 1)
  assert.equal(seen.filter((name) => name === 'parent:dropped').length, 1)
  assert.equal(seen.filter((name) => name === 'piece:kept').length, 4)
  const { tookMs, ...finished } = raw.at(-1) as { tookMs: number }
  assert.ok(tookMs > 0)
  assert.deepEqual(finished, {
    task: 'a'.repeat(64),
    contentLength: 37,
    sourceBytes: 37,
    peerBytes: 0,
  })
  assert.ok(!JSON.stringify(raw).includes('secret'))
})

test('Run publishes a failure with its code, or ABORTED', async (t) => {
  const codes: string[] = []
  const note = (message: unknown): void => {
    codes.push((message as { code: string }).code)
  }
  subscribe('dragonfly-peer:task:failed', note)
  t.after(() => unsubscribe('dragonfly-peer:task:failed', note))
  for (const reason of ['mine', new PeerError('CLOSED', 'x', { what: 'peer' })]) {
    const world = new SimWorld(2)
    const run = world.run(new SimAnnouncer([]))
    run.join()
    run.cancel(reason)
    await run.ended
  }
  assert.deepEqual(codes, ['ABORTED', 'CLOSED'])
})

test('Run refuses options that make no sense', () => {
  const world = new SimWorld(2)
  for (const options of [
    { concurrency: 0 },
    { patienceMs: Number.NaN },
    { pieceTimeoutMs: -1 },
    { rescheduleMax: 1.5 },
  ]) {
    assert.throws(() => world.run(new SimAnnouncer([]), options), RangeError)
  }
})

test('Run leaves no rejection behind that nobody listens to', async () => {
  const world = new SimWorld(4)
  const run = world.run(new SimAnnouncer([]), { backToSource: 'never' })
  const share = run.join()
  void share.wait(1)
  await world.clock.until(() => !run.open)
  await run.ended
  // Node ends the test process on an unhandled rejection; two more turns give it the time.
  await world.clock.settle()
  await world.clock.settle()
  assert.equal(run.explain().state, 'ended')
})

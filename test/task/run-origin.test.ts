import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { runDefaults } from '../../src/task/run-options.ts'
import { lost, parents, SimAnnouncer } from '../sim/scheduler.ts'
import { outcomeOf, SimWorld } from '../sim/world.ts'

const url = 'https://origin.example/models/m.bin'

test('Run goes to the origin on the order of the scheduler, piece by piece', async () => {
  const world = new SimWorld(6)
  const announcer = new SimAnnouncer([{ is: 'source' }])
  const run = world.run(announcer, { needBackToSource: true, validator: 'v1' })
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  await run.ended
  const { told, reports, registration } = announcer.session
  assert.deepEqual([registration.needBackToSource, registration.backToSource], [true, 'allow'])
  assert.equal(told[0], 'sourceStarted')
  assert.equal(told.at(-1), 'end done source')
  assert.ok(reports.every(({ traffic, parentId }) => traffic === 'source' && parentId === ''))
  assert.equal(world.origin.reads.length, 6)
  assert.equal(world.origin.sent, world.cut.contentLength)
  assert.ok(world.origin.reads.every(({ validator, length }) => validator === 'v1' && length))
  assert.equal(share.progress().sourceBytes, world.cut.contentLength)
  world.checkContent()
  world.checkNothingOpen()
})

test('Run asks the origin for no more pieces at once than it may', async () => {
  const world = new SimWorld(12)
  const run = world.run(new SimAnnouncer([{ is: 'source' }]), { originInFlightMax: 3 })
  run.join()
  let most = 0
  await world.clock.until(() => {
    most = Math.max(most, world.origin.open)
    return !run.open
  })
  assert.equal(most, 3)
})

for (const [name, first] of [
  ['is lost', lost()],
  ['ends the session', undefined],
] as const) {
  test(`Run goes to the origin at once when the scheduler ${name} and there are no parents`, async () => {
    const world = new SimWorld(3)
    const announcer = new SimAnnouncer([first])
    const run = world.run(announcer)
    const share = run.join()
    await world.clock.until(() => !run.open)
    await share.done
    assert.equal(world.origin.reads[0]?.at, 0)
    assert.equal(announcer.sessions.length, 1)
    assert.equal(announcer.session.told.at(-1), 'end done')
  })
}

test('Run goes to the origin when the scheduler does not answer in time', async () => {
  const world = new SimWorld(3)
  const run = world.run(new SimAnnouncer([]))
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.equal(world.origin.reads[0]?.at, runDefaults.answerTimeoutMs)
})

test('Run takes from the origin only what no parent has', async () => {
  const world = new SimWorld(10)
  const a = world.parents.add('a', [0, 1, 2, 3, 4, 5], { sendMs: 500 })
  const announcer = new SimAnnouncer([parents(a)], (session) => session.answer(undefined))
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.deepEqual(
    world.origin.reads.map(({ offset }) => offset).sort((one, other) => one - other),
    [60, 70, 80, 90],
  )
  const { peerBytes, sourceBytes } = share.progress()
  assert.deepEqual([peerBytes, sourceBytes], [60, 37])
})

test('Run goes back to parents that come while the origin is used', async () => {
  const world = new SimWorld(20)
  world.origin.manners.chunkMs = 100
  const a = world.parents.add('a', world.all)
  const announcer = new SimAnnouncer([{ is: 'source' }])
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.until(() => world.sink.keptCount >= 4)
  announcer.session.answer(parents(a))
  await world.clock.until(() => !run.open)
  await share.done
  assert.ok(world.origin.reads.length <= 8, `${world.origin.reads.length}`)
  assert.ok(a.asked.length >= 12)
})

for (const originRanges of [true, false]) {
  test(`Run leaves the origin alone, order or not, while parents have everything (ranges: ${originRanges})`, async () => {
    const world = new SimWorld(10)
    const a = world.parents.add('a', world.all, { sendMs: 100 })
    const announcer = new SimAnnouncer([parents(a)])
    const run = world.run(announcer, { originRanges })
    const share = run.join()
    await world.clock.pass(20)
    announcer.session.answer({ is: 'source' })
    await world.clock.until(() => !run.open)
    await share.done
    assert.equal(world.origin.reads.length, 0)
    assert.equal(a.asked.length, 10)
  })
}

test('Run turns to the origin when a parent is silent and the origin is open', async () => {
  const world = new SimWorld(1)
  const a = world.parents.add('a', [0], { reads: 'silent' })
  const announcer = new SimAnnouncer([parents(a)])
  const run = world.run(announcer)
  const share = run.join()
  await world.clock.pass(100)
  announcer.session.answer({ is: 'source' })
  await world.clock.until(() => !run.open)
  await share.done
  assert.ok(world.clock.now() < 2000)
  assert.equal(world.origin.reads.length, 1)
})

const fatal = [
  ['ORIGIN_NOT_FOUND', new PeerError('ORIGIN_NOT_FOUND', 'x', { url, status: 404 })],
  ['ORIGIN_FORBIDDEN', new PeerError('ORIGIN_FORBIDDEN', 'x', { url, status: 403 })],
  ['ORIGIN_TLS', new PeerError('ORIGIN_TLS', 'x', { url, reason: 'x' })],
  [
    'ORIGIN_CHANGED',
    new PeerError('ORIGIN_CHANGED', 'x', { url, what: 'etag', expected: 'a', actual: 'b' }),
  ],
  [
    'RANGE_NOT_SATISFIABLE',
    new PeerError('RANGE_NOT_SATISFIABLE', 'x', { start: 0, length: 1, contentLength: 0 }),
  ],
] as const
for (const [code, error] of fatal) {
  test(`Run ends at once with ${code} of the origin when nobody else can deliver`, async () => {
    const world = new SimWorld(6)
    world.origin.manners.errors = [error]
    const announcer = new SimAnnouncer([{ is: 'source' }])
    const run = world.run(announcer)
    const seen = outcomeOf(run.join().done)
    await world.clock.until(() => seen.settled)
    assert.equal(seen.error, error)
    assert.ok(world.clock.now() < 100)
    await run.ended
    assert.equal(announcer.session.told.at(-1), `end failed source ${code}`)
    world.checkNothingOpen()
  })

  test(`Run goes on with parents after ${code} of the origin`, async () => {
    const world = new SimWorld(6)
    world.origin.manners.errors = [error, error, error, error]
    const a = world.parents.add('a', [0, 1, 2], { feed: 'open' })
    const announcer = new SimAnnouncer([{ is: 'source' }])
    const run = world.run(announcer)
    const share = run.join()
    const seen = outcomeOf(share.done)
    await world.clock.settle()
    announcer.session.answer(parents(a))
    await world.clock.pass(1000)
    assert.equal(seen.settled, false)
    a.gets(3, 4, 5)
    await world.clock.until(() => !run.open)
    assert.equal(seen.error, undefined)
    world.checkContent()
  })
}

test('Run stops all reads of an origin that it gives up', async () => {
  const world = new SimWorld(8)
  const a = world.parents.add('a', [], { feed: 'open' })
  const announcer = new SimAnnouncer([{ is: 'source' }])
  const run = world.run(announcer)
  run.join()
  await world.clock.settle()
  announcer.session.answer(parents(a))
  await world.clock.pass(2)
  assert.equal(world.origin.open, 4)
  world.origin.manners.errors = [new PeerError('ORIGIN_NOT_FOUND', 'x', { url, status: 404 })]
  await world.clock.until(() => run.explain().origin === 'banned')
  await world.clock.settle()
  assert.equal(world.origin.open, 0)
  assert.equal(run.open, true)
  run.cancel('enough')
})

test('Run asks the origin again after a passing failure, and gives it up after three', async () => {
  const broken = new PeerError('ORIGIN_UNREACHABLE', 'x', { url, attempts: 3, reason: 'x' })
  const world = new SimWorld(1)
  world.origin.manners.errors = [broken, broken]
  const run = world.run(new SimAnnouncer([{ is: 'source' }]))
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.equal(world.origin.reads.length, 3)

  const other = new SimWorld(1)
  other.origin.manners.errors = [broken, broken, broken, broken]
  const seen = outcomeOf(other.run(new SimAnnouncer([{ is: 'source' }])).join().done)
  await other.clock.until(() => seen.settled)
  assert.equal(seen.error, broken)
  assert.equal(other.origin.reads.length, 3)
  other.checkNothingOpen()
})

test('Run does not ask an origin for ever whose source throws the wrong errors', async () => {
  const odd = new PeerError('PARENT_REFUSED', 'x', { parent: 'x', reason: 'x' })
  const world = new SimWorld(1)
  world.origin.manners.errors = Array.from({ length: 100 }, () => odd)
  const seen = outcomeOf(world.run(new SimAnnouncer([{ is: 'source' }])).join().done)
  await world.clock.until(() => seen.settled)
  assert.equal(seen.error, odd)
  assert.equal(world.origin.reads.length, 3)
})

test('Run reads an origin without ranges once, in order, past what is kept', async () => {
  const world = new SimWorld(8)
  world.sink.preset([0, 3])
  const announcer = new SimAnnouncer([{ is: 'source' }])
  const run = world.run(announcer, { originRanges: false, validator: 'v1' })
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  await run.ended
  assert.equal(world.origin.reads.length, 1)
  assert.deepEqual([world.origin.reads[0]?.offset, world.origin.reads[0]?.length], [0, undefined])
  assert.deepEqual(
    announcer.session.reports.map(({ piece }) => piece.number),
    [1, 2, 4, 5, 6, 7],
  )
  assert.equal(world.sink.slotsSeen, 1)
  world.checkContent()
  world.checkNothingOpen()
})

test('Run stops reading an origin without ranges after the last wanted piece', async () => {
  const world = new SimWorld(100)
  const run = world.run(new SimAnnouncer([{ is: 'source' }]), { originRanges: false })
  const share = run.join({ start: 15, length: 10 })
  await world.clock.until(() => !run.open)
  await share.done
  assert.ok(world.origin.sent <= 40, `${world.origin.sent}`)
  assert.equal(world.sink.keptCount, 2)
  world.checkNothingOpen()
})

test('Run reads an origin without ranges anew when an earlier piece is wanted later', async () => {
  const world = new SimWorld(10)
  const run = world.run(new SimAnnouncer([{ is: 'source' }]), { originRanges: false })
  const late = run.join({ start: 50, length: 30 })
  await world.clock.until(() => world.sink.has(5))
  const early = run.join({ start: 0, length: 15 })
  await world.clock.until(() => !run.open)
  await Promise.all([late.done, early.done])
  assert.equal(world.origin.reads.length, 2)
  world.checkContent()
})

test('Run mixes the stream of the origin with parents, and fetches no piece twice', async () => {
  const world = new SimWorld(30)
  const a = world.parents.add('a', [20, 21, 22, 23, 24, 25], { sendMs: 20 })
  const announcer = new SimAnnouncer([{ is: 'source' }])
  const run = world.run(announcer, { originRanges: false })
  const share = run.join()
  await world.clock.settle()
  announcer.session.answer(parents(a))
  await world.clock.until(() => !run.open)
  await share.done
  const numbers = announcer.session.reports.map(({ piece }) => piece.number)
  assert.equal(numbers.length, new Set(numbers).size)
  assert.equal(numbers.length, 30)
  assert.ok(a.asked.length >= 4)
  world.checkContent()
})

test('Run takes up the stream of the origin again where it broke', async () => {
  const broken = new PeerError('ORIGIN_UNREACHABLE', 'x', { url, attempts: 3, reason: 'x' })
  const world = new SimWorld(6)
  const read = world.origin.read.bind(world.origin)
  let passes = 0
  world.origin.read = async function* (part, signal) {
    passes++
    let sent = 0
    for await (const chunk of read(part, signal)) {
      if (passes === 1 && sent > 25) throw broken
      sent += chunk.length
      yield chunk
    }
  }
  const announcer = new SimAnnouncer([{ is: 'source' }])
  const run = world.run(announcer, { originRanges: false })
  const share = run.join()
  await world.clock.until(() => !run.open)
  await share.done
  assert.equal(passes, 2)
  const numbers = announcer.session.reports.map(({ piece }) => piece.number)
  assert.deepEqual(numbers, [0, 1, 2, 3, 4, 5])
  world.checkContent()
})

test('Run notices that content without ranges is longer than it was', async () => {
  const world = new SimWorld(4)
  world.origin.manners.length += 1
  const seen = outcomeOf(
    world.run(new SimAnnouncer([{ is: 'source' }]), { originRanges: false }).join().done,
  )
  await world.clock.until(() => seen.settled)
  assert.ok(PeerError.is(seen.error, 'ORIGIN_PROTOCOL'))
  assert.equal(seen.error.details.url, url)
  assert.equal(world.sink.has(3), false)
  world.checkNothingOpen()
})

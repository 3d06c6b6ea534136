import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import {
  answersMax,
  Dialogue,
  moreParentsMs,
  moreQuestionsMax,
  sessionsMax,
} from '../../src/task/dialogue.ts'
import type { Answer, Parent, Registration } from '../../src/task/ports.ts'
import { VirtualClock } from '../sim/clock.ts'
import { spec } from '../sim/content.ts'
import { lost, SimAnnouncer } from '../sim/scheduler.ts'

const one: Parent = { id: 'a', hostId: 'h', ip: '127.0.0.1', port: 4000, seed: false }
const named: Answer = { is: 'parents', parents: [one] }

class Bench {
  readonly clock: VirtualClock = new VirtualClock()
  readonly announcer: SimAnnouncer
  readonly dialogue: Dialogue
  readonly life: AbortController = new AbortController()
  readonly heard: string[] = []
  takesSource = true
  wantsMore = false

  constructor(first: readonly (Answer | PeerError | undefined)[]) {
    this.announcer = new SimAnnouncer(first)
    let peers = 0
    this.dialogue = new Dialogue(
      { announcer: this.announcer, clock: this.clock },
      { answerTimeoutMs: 5000, rescheduleMax: 4 },
      () => ({ peerId: `peer-${++peers}`, spec }) as Registration,
      {
        onParents: (parents) => this.heard.push(`parents ${parents.map(({ id }) => id).join()}`),
        onSource: () => {
          this.heard.push('source')
          return this.takesSource
        },
        wantsMore: () => this.wantsMore,
        onChange: () => this.heard.push(this.dialogue.state),
      },
      this.life.signal,
    )
  }

  ask(): boolean {
    return this.dialogue.ask(() => [one], 'test')
  }
}

test('Dialogue.open() registers, and hears parents', async () => {
  const bench = new Bench([named])
  assert.equal(bench.dialogue.busy, false)
  bench.dialogue.open()
  assert.equal(bench.dialogue.busy, true)
  await bench.clock.settle()
  assert.deepEqual(bench.heard, ['parents a', 'idle'])
  assert.deepEqual(bench.announcer.session.told, ['started'])
  assert.equal(bench.dialogue.busy, false)
  await bench.clock.pass(moreParentsMs)
  assert.deepEqual(bench.announcer.session.told, ['started'])
  assert.equal(bench.clock.pending, 0)
})

test('Dialogue asks for more a few times while pieces wait, each time later, naming nobody', async () => {
  const bench = new Bench([named])
  bench.wantsMore = true
  bench.dialogue.open()
  await bench.clock.pass(moreParentsMs - 1)
  assert.deepEqual(bench.announcer.session.told, ['started'])
  await bench.clock.pass(1)
  assert.deepEqual(bench.announcer.session.told, ['started', 'reschedule '])
  for (let count = 1; count < moreQuestionsMax; count++) {
    bench.announcer.session.answer(named)
    await bench.clock.pass(moreParentsMs * 2 ** count - 1)
    assert.equal(bench.announcer.session.told.at(-1), 'started')
    await bench.clock.pass(1)
    assert.equal(bench.announcer.session.told.at(-1), 'reschedule ')
  }
  bench.announcer.session.answer(named)
  await bench.clock.pass(60_000)
  assert.equal(bench.announcer.session.told.at(-1), 'started')
  // It was no call for help: all of those are left.
  for (let count = 0; count < 4; count++) {
    assert.equal(bench.ask(), true)
    await bench.clock.pass(4000)
    bench.announcer.session.answer(named)
    await bench.clock.settle()
  }
  assert.equal(bench.ask(), false)
})

test('Dialogue does not go to the origin when it only asked for more parents', async () => {
  const bench = new Bench([named])
  bench.wantsMore = true
  bench.dialogue.open()
  await bench.clock.pass(moreParentsMs)
  bench.announcer.session.answer({ is: 'source' })
  await bench.clock.settle()
  assert.ok(!bench.heard.includes('source'))
  assert.equal(bench.dialogue.ordered, false)
  assert.equal(bench.ask(), true)
  bench.announcer.session.answer({ is: 'source' })
  await bench.clock.settle()
  assert.ok(bench.heard.includes('source'))
})

test('Dialogue does not ask for more when another question is open, and after the end', async () => {
  const asking = new Bench([named])
  const over = new Bench([named])
  for (const bench of [asking, over]) {
    bench.wantsMore = true
    bench.dialogue.open()
    await bench.clock.settle()
  }
  assert.equal(asking.ask(), true)
  await over.dialogue.finish({ is: 'done', source: false })
  assert.equal(over.clock.pending, 0)
  for (const bench of [asking, over]) {
    await bench.clock.pass(moreParentsMs * 2)
    assert.ok(!bench.announcer.session.told.includes('reschedule '))
  }
  assert.equal(over.clock.pending, 0)
})

for (const takesSource of [true, false]) {
  test(`Dialogue hears the order to go to the origin, which is ${takesSource ? '' : 'not '}followed`, async () => {
    const bench = new Bench([{ is: 'source' }])
    bench.takesSource = takesSource
    bench.dialogue.open()
    await bench.clock.settle()
    assert.deepEqual(bench.heard, ['source', 'idle'])
    assert.deepEqual(bench.announcer.session.told, takesSource ? ['sourceStarted'] : [])
    assert.equal(bench.dialogue.ordered, takesSource)
    await bench.dialogue.finish({ is: 'done', source: bench.dialogue.ordered })
    assert.equal(bench.announcer.session.told.at(-1), takesSource ? 'end done source' : 'end done')
  })
}

for (const is of ['empty', 'metadata'] as const) {
  test(`Dialogue takes ${is} for an answer that names nobody`, async () => {
    const bench = new Bench([{ is }])
    bench.dialogue.open()
    await bench.clock.settle()
    assert.deepEqual(bench.heard, ['idle'])
    assert.deepEqual(bench.announcer.session.told, [])
    assert.equal(bench.ask(), true)
  })
}

test('Dialogue does not wait for ever for an answer, and hears it when it comes late', async () => {
  const bench = new Bench([])
  bench.dialogue.open()
  await bench.clock.pass(4999)
  assert.equal(bench.dialogue.busy, true)
  await bench.clock.pass(1)
  assert.equal(bench.dialogue.busy, false)
  assert.deepEqual(bench.heard, ['silent'])
  assert.equal(bench.ask(), false)
  bench.announcer.session.answer(named)
  await bench.clock.settle()
  assert.deepEqual(bench.heard, ['silent', 'parents a', 'idle'])
  assert.equal(bench.ask(), true)
})

test('Dialogue.ask() asks at once, then with growing pauses, and no more often than it may', async () => {
  const bench = new Bench([named])
  const times: number[] = []
  bench.dialogue.open()
  await bench.clock.settle()
  for (let count = 0; count < 4; count++) {
    assert.equal(bench.ask(), true)
    assert.equal(bench.ask(), false)
    const told = bench.announcer.session.told.length
    const from = bench.clock.now()
    await bench.clock.until(() =>
      bench.announcer.session.told.slice(told - 1).some((word) => word.startsWith('reschedule')),
    )
    times.push(bench.clock.now() - from)
    bench.announcer.session.answer({ is: 'parents', parents: [] })
    await bench.clock.settle()
  }
  assert.deepEqual(times, [0, 500, 1000, 2000])
  assert.equal(bench.ask(), false)
  bench.dialogue.onProgress()
  assert.equal(bench.ask(), true)
})

test('Dialogue gives up a question that rests when an answer comes unasked', async () => {
  const bench = new Bench([named])
  bench.dialogue.open()
  await bench.clock.settle()
  bench.ask()
  bench.announcer.session.answer({ is: 'parents', parents: [] })
  await bench.clock.settle()
  bench.ask()
  assert.equal(bench.dialogue.state, 'resting')
  bench.announcer.session.answer(named)
  await bench.clock.settle()
  assert.equal(bench.dialogue.state, 'idle')
  await bench.clock.pass(10_000)
  const asked = bench.announcer.session.told.filter((word) => word.startsWith('reschedule'))
  assert.equal(asked.length, 1)
  assert.equal(bench.ask(), true)
})

test('Dialogue stops listening to a scheduler that never stops', async () => {
  const bench = new Bench([named])
  bench.dialogue.open()
  for (let count = 0; count < answersMax + 50; count++) bench.announcer.session.answer(named)
  await bench.clock.settle()
  assert.equal(bench.heard.filter((word) => word === 'parents a').length, answersMax)
  assert.equal(bench.dialogue.state, 'over')
  assert.ok(PeerError.is(bench.dialogue.error, 'SCHEDULER_REFUSED'))
  assert.equal(bench.dialogue.reopen(), false)
})

test('Dialogue.reopen() registers anew after a pause when the connection was lost, a bounded number of times', async () => {
  const bench = new Bench([lost(), lost(), lost(), lost(), lost()])
  bench.dialogue.open()
  await bench.clock.settle()
  const times: number[] = []
  while (bench.dialogue.reopen()) {
    assert.equal(bench.dialogue.busy, true)
    assert.equal(bench.dialogue.reopen(), false)
    const count = bench.announcer.sessions.length
    const from = bench.clock.now()
    await bench.clock.until(() => bench.announcer.sessions.length > count)
    times.push(bench.clock.now() - from)
  }
  assert.equal(bench.announcer.sessions.length, sessionsMax)
  assert.deepEqual(times, [500, 1000, 2000])
  const ids = bench.announcer.sessions.map(({ registration }) => registration.peerId)
  assert.equal(new Set(ids).size, sessionsMax)
  assert.ok(bench.announcer.sessions.slice(0, -1).every(({ ended }) => ended))
  assert.ok(PeerError.is(bench.dialogue.error, 'SCHEDULER_UNAVAILABLE'))
})

const ends = [
  ['ended in order', undefined],
  ['refused', new PeerError('SCHEDULER_REFUSED', 'No', { method: 'x', reason: 'y' })],
] as const
for (const [how, end] of ends) {
  test(`Dialogue.reopen() does nothing when the scheduler ${how}`, async () => {
    const bench = new Bench([end])
    bench.dialogue.open()
    await bench.clock.settle()
    assert.equal(bench.dialogue.state, 'over')
    assert.equal(bench.dialogue.error, end)
    assert.equal(bench.ask(), false)
    assert.equal(bench.dialogue.reopen(), false)
  })
}

test('Dialogue reports nothing to a session that is lost, and everything to the one after it', async () => {
  const bench = new Bench([lost(), named])
  bench.dialogue.open()
  await bench.clock.settle()
  bench.dialogue.pieceFailed(1, 'a')
  bench.dialogue.reopen()
  await bench.clock.pass(1000)
  bench.dialogue.pieceFailed(2, 'a')
  const [first, second] = bench.announcer.sessions.map(({ told }) => told)
  assert.deepEqual(first, ['end failed Connection lost'])
  assert.deepEqual(second, ['started', 'failed 2 a'])
})

test('Dialogue.finish() ends the session once, and all waiting', async () => {
  const bench = new Bench([])
  bench.dialogue.open()
  await bench.dialogue.finish({ is: 'failed', source: false, reason: 'X' })
  await bench.dialogue.finish({ is: 'done', source: false })
  bench.life.abort('over')
  bench.announcer.session.answer(named)
  await bench.clock.settle()
  assert.deepEqual(bench.announcer.session.told, ['end failed X'])
  assert.deepEqual(bench.heard, [])
  assert.equal(bench.clock.pending, 0)
})

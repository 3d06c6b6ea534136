import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import type { SchedulerClient } from '../../src/scheduler/client.ts'
import { headersTimeoutMs } from '../../src/scheduler/session.ts'
import { beatMs, deadBeats } from '../../src/task/pulse.ts'
import type { Session } from '../../src/task/ports.ts'
import { VirtualClock } from '../sim/clock.ts'
import { clientFor, clientOf, parents, registration, Script, spec } from './script.ts'
import { subscribed } from './subscribed.ts'

const signal = new AbortController().signal

/** In which a scheduler that answers to nothing is noticed, whenever the first of several beats came. */
const noticedMs = deadBeats * beatMs

/** A scheduler that never answers a question, beside those that its script answers. */
class Silent extends Script {
  /** It answers pings. */
  alive = false
  pings = 0

  ping(): Promise<void> {
    this.pings++
    return this.alive ? Promise.resolve() : new Promise(() => undefined)
  }
}

/** A client of these schedulers over connections that can be pinged, in which no time passes. */
function clientWith(
  t: TestContext,
  scripts: readonly Silent[],
): { readonly client: SchedulerClient; readonly clock: VirtualClock } {
  const clock = new VirtualClock()
  const { addresses, open } = clientOf(...scripts)
  const client = clientFor(t, scripts, {
    clock,
    open: (address) => {
      const script = scripts[addresses.indexOf(address)]
      return { ...open(address), address, ping: () => script?.ping() ?? Promise.resolve() }
    },
  })
  return { client, clock }
}

/** An answer, its error, or that there is none. */
async function seen(clock: VirtualClock, waiting: Promise<unknown>): Promise<unknown> {
  const nothing = (async () => {
    for (let turn = 0; turn < 5; turn++) await clock.settle()
    return 'nothing'
  })()
  return await Promise.race([waiting.catch((error: unknown) => error), nothing])
}

/** A session that was answered once. */
async function answered(client: SchedulerClient): Promise<Session> {
  const session = client.open(registration)
  assert.equal((await session.next(signal))?.is, 'parents')
  session.started()
  return session
}

function onlyRegistering(script: Script): void {
  script.onRequest = ({ request }) =>
    request.case === 'registerPeerRequest' ? [parents('p1')] : undefined
}

const never = (): Promise<never> => new Promise(() => undefined)

test('Session.next() says that a scheduler is gone which answers neither a question nor a ping', async (t) => {
  const lost = subscribed(t, 'dragonfly-peer:scheduler:lost')
  const script = new Silent()
  onlyRegistering(script)
  const { client, clock } = clientWith(t, [script])
  const session = await answered(client)
  await clock.pass(60_000)
  assert.equal(script.pings, 0)
  session.reschedule([], 'test')
  const next = session.next(signal)
  await clock.pass(noticedMs - beatMs)
  assert.equal(await seen(clock, next), 'nothing')
  await clock.pass(beatMs)
  assert.ok(PeerError.is(await seen(clock, next), 'SCHEDULER_UNAVAILABLE'))
  assert.equal(lost.length, 1)
  assert.equal(script.pings, 1)
  await session.finish({ is: 'done', source: false })
  assert.equal(script.ended, 1)
})

test('Session.next() waits for a scheduler that is busy, and answers pings', async (t) => {
  const script = new Silent()
  script.alive = true
  onlyRegistering(script)
  const { client, clock } = clientWith(t, [script])
  const session = await answered(client)
  session.reschedule([], 'test')
  const next = session.next(signal)
  await clock.pass(60_000)
  assert.equal(await seen(clock, next), 'nothing')
  assert.ok(script.pings > 10, `${script.pings}`)
})

test('Session pings nobody when no answer is due any more', async (t) => {
  const script = new Silent()
  const { client, clock } = clientWith(t, [script])
  const session = client.open(registration)
  await clock.pass(1000)
  await session.finish({ is: 'failed', source: false, reason: 'x' })
  await clock.pass(60_000)
  assert.equal(script.pings, 0)
  client.close()
  assert.equal(clock.pending, 0)
})

test('Session asks the next scheduler when the first answers neither the registration nor a ping', async (t) => {
  const scripts = [new Silent(), new Silent()]
  const asked: number[] = []
  for (const [at, script] of scripts.entries()) {
    script.onRequest = () => {
      asked.push(at)
      return asked.length === 1 ? never() : [parents('p1')]
    }
  }
  const { client, clock } = clientWith(t, scripts)
  const next = client.open(registration).next(signal)
  await clock.pass(noticedMs)
  assert.deepEqual(
    await seen(clock, next).then((answer) => (answer as { is: string }).is),
    'parents',
  )
  assert.ok(noticedMs < headersTimeoutMs)
  assert.deepEqual(asked.toSorted(), [0, 1])
})

for (const alive of [true, false]) {
  test(`SchedulerClient ${alive ? 'waits for' : 'gives up'} calls to a scheduler that answers nothing but ${alive ? 'pings' : 'no ping either'}`, async (t) => {
    const script = new Silent()
    script.alive = alive
    script.more = { announceHost: never, statTask: never }
    const { client, clock } = clientWith(t, [script])
    const calls = [() => client.announceHost(signal), () => client.statTask(spec.id, signal)]
    for (const call of calls) {
      const waiting = call()
      waiting.catch(() => undefined)
      await clock.pass(noticedMs)
      const told = await seen(clock, waiting)
      if (alive) assert.equal(told, 'nothing')
      else assert.ok(PeerError.is(told, 'SCHEDULER_UNAVAILABLE'))
    }
  })
}

test('SchedulerClient that stood still itself takes no scheduler for gone', async (t) => {
  const script = new Silent()
  onlyRegistering(script)
  const { client, clock } = clientWith(t, [script])
  const session = await answered(client)
  session.reschedule([], 'test')
  const next = session.next(signal)
  let answer = (): void => undefined
  script.ping = () => {
    // The first one gets no answer in time.
    if (script.pings++ > 0) return Promise.resolve()
    return new Promise((resolve) => {
      answer = resolve
    })
  }
  await clock.pass(noticedMs - beatMs)
  assert.equal(script.pings, 1)
  // The clock jumps, as when a process was stopped: the timers come first, and what has arrived meanwhile is read after them.
  const now = clock.now.bind(clock)
  clock.now = () => now() + 5000
  await clock.pass(beatMs)
  answer()
  await clock.pass(noticedMs)
  assert.equal(await seen(clock, next), 'nothing')
})

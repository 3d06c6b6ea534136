import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'

import { Code, ConnectError } from '@connectrpc/connect'

import { PeerError } from '../../src/errors.ts'
import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { localChannel } from '../../src/rpc/channel.ts'
import { SchedulerClient } from '../../src/scheduler/client.ts'
import { unreadMax } from '../../src/scheduler/inbox.ts'
import { reportsMax } from '../../src/scheduler/report-queue.ts'
import { uselessAnswersMax } from '../../src/scheduler/session.ts'
import type { PieceReport } from '../../src/task/ports.ts'
import { deferred } from '../../src/util/deferred.ts'
import { VirtualClock } from '../sim/clock.ts'
import {
  type Answered,
  clientOf,
  goToSource,
  parents,
  registration,
  Script,
  spec,
  unknownHost,
} from './script.ts'
import { subscribed } from './subscribed.ts'

const signal = new AbortController().signal

function clientFor(
  t: TestContext,
  scripts: readonly Script[],
  more: Partial<ConstructorParameters<typeof SchedulerClient>[0]> = {},
): SchedulerClient {
  const client = new SchedulerClient({ ...clientOf(...scripts), ...more })
  t.after(() => client.close())
  return client
}

function report(number: number, traffic: 'source' | 'peer' = 'peer'): PieceReport {
  return {
    piece: { number, offset: number * 4, length: 4 },
    digest: 'crc32:1',
    traffic,
    parentId: traffic === 'peer' ? 'p1' : '',
    costMs: 3,
    createdAt: 1_700_000_000_000,
  }
}

test('Session goes through a download from parents', async (t) => {
  const script = new Script()
  script.onRequest = ({ request }) => {
    if (request.case === 'registerPeerRequest') return [parents('p1', 'p2')]
    return request.case === 'downloadPeerFinishedRequest' ? 'end' : undefined
  }
  const session = clientFor(t, [script]).open(registration)
  const answer = await session.next(signal)
  assert.ok(answer?.is === 'parents')
  assert.deepEqual(
    answer.parents.map(({ id, ip, port }) => `${id} ${ip} ${port}`),
    ['p1 10.0.0.1 4000', 'p2 10.0.0.2 4000'],
  )
  assert.equal(answer.contentLength, 40 * 1024 * 1024)
  session.started()
  session.pieceDone(report(0))
  session.pieceFailed(1, 'p2')
  session.pieceFailed(2, '')
  session.pieceDone(report(3, 'source'))
  await session.finish({ is: 'done', source: false })
  assert.deepEqual(script.streams, [
    [
      'registerPeerRequest',
      'downloadPeerStartedRequest',
      'downloadPieceFinishedRequest',
      'downloadPieceFailedRequest',
      'downloadPieceBackToSourceFailedRequest',
      'downloadPieceBackToSourceFinishedRequest',
      'downloadPeerFinishedRequest',
    ],
  ])
  for (const { hostId, taskId, peerId } of script.requests) {
    assert.deepEqual({ hostId, taskId, peerId }, { hostId: 'me', taskId: spec.id, peerId: 'peer' })
  }
  assert.equal(await session.next(signal), undefined)
})

test('Session says how a download ended, in the words of what it did', async (t) => {
  const ends = [
    [{ is: 'done', source: false }, 'downloadPeerFinishedRequest'],
    [{ is: 'done', source: true }, 'downloadPeerBackToSourceFinishedRequest'],
    [{ is: 'failed', source: false, reason: 'x' }, 'downloadPeerFailedRequest'],
    [{ is: 'failed', source: true, reason: 'x' }, 'downloadPeerBackToSourceFailedRequest'],
  ] as const
  for (const [how, name] of ends) {
    const script = new Script()
    script.onRequest = ({ request }) =>
      request.case === 'registerPeerRequest' ? [goToSource] : undefined
    const session = clientFor(t, [script]).open(registration)
    assert.deepEqual(await session.next(signal), { is: 'source' })
    session.sourceStarted()
    await session.finish(how)
    assert.deepEqual(script.streams[0]?.slice(1), ['downloadPeerBackToSourceStartedRequest', name])
  }
})

test('Session reads every kind of answer', async (t) => {
  const script = new Script()
  const answers: Answered[] = [
    { response: { case: 'emptyTaskResponse', value: {} } },
    goToSource,
    { response: { case: 'metadataOnlyResponse', value: {} } },
    {},
    parents('p1'),
  ]
  script.onRequest = () => answers
  const session = clientFor(t, [script]).open(registration)
  const told = []
  for (let at = 0; at < 4; at++) told.push((await session.next(signal))?.is)
  assert.deepEqual(told, ['empty', 'source', 'metadata', 'parents'])
})

test('Session skips candidates that cannot be asked', async (t) => {
  const script = new Script()
  script.onRequest = () => [
    {
      response: {
        case: 'normalTaskResponse',
        value: {
          candidateParents: [
            { id: 'no host' },
            { id: 'a name', host: { id: 'h', ip: 'peer.test', port: 4000 } },
            { id: 'no port', host: { id: 'h', ip: '10.0.0.1' } },
            { id: '', host: { id: 'h', ip: '10.0.0.1', port: 4000 } },
            { id: 'good', priority: 99, host: { id: 'h', ip: '10.0.0.1', port: 4000, type: 77 } },
          ],
        },
      },
    } as Answered,
  ]
  const answer = await clientFor(t, [script]).open(registration).next(signal)
  assert.ok(answer?.is === 'parents')
  assert.deepEqual(
    answer.parents.map(({ id, seed }) => ({ id, seed })),
    [{ id: 'good', seed: true }],
  )
  assert.equal(answer.contentLength, undefined)
})

test('Session echoes the candidates that it names in a reschedule', async (t) => {
  const script = new Script()
  const echoed = deferred<unknown>()
  script.onRequest = ({ request }) => {
    if (request.case === 'registerPeerRequest') return [parents('p1', 'p2', 'p3')]
    if (request.case === 'reschedulePeerRequest') echoed.resolve(request.value)
    return undefined
  }
  const session = clientFor(t, [script]).open(registration)
  const answer = await session.next(signal)
  assert.ok(answer?.is === 'parents')
  const stranger = { id: 'stranger', hostId: 'h', ip: '10.0.0.1', port: 1, seed: false }
  session.reschedule([...answer.parents.slice(1), stranger], 'They are slow')
  const value = (await echoed.promise) as {
    candidateParents: { id: string; state: string; host: { hostname: string } }[]
    description: string
  }
  assert.deepEqual(
    value.candidateParents.map(({ id, state, host }) => `${id} ${state} ${host.hostname}`),
    ['p2 Running p2', 'p3 Running p3'],
  )
  assert.equal(value.description, 'They are slow')
})

test('Session announces the host and tries again when the scheduler does not know it', async (t) => {
  const script = new Script()
  const streams: (string | undefined)[][] = []
  script.more = {
    async *announcePeer(requests) {
      const heard: (string | undefined)[] = []
      const first = streams.push(heard) === 1
      const listened = (async () => {
        for await (const { request } of requests) heard.push(request.case)
      })()
      // Time for more to be said, if more were said.
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
      if (first) unknownHost()
      yield parents('p1')
      await listened
    },
  }
  const session = clientFor(t, [script]).open(registration)
  session.pieceDone(report(0))
  assert.equal((await session.next(signal))?.is, 'parents')
  assert.deepEqual(script.hosts, ['me'])
  await session.finish({ is: 'done', source: false })
  assert.deepEqual(streams, [
    ['registerPeerRequest'],
    [
      'registerPeerRequest',
      'downloadPieceFinishedRequest',
      'downloadPeerStartedRequest',
      'downloadPeerFinishedRequest',
    ],
  ])
})

test('Session takes NotFound for an answer when the host was announced just now', async (t) => {
  const script = new Script()
  script.onRequest = unknownHost
  const session = clientFor(t, [script]).open(registration)
  await assert.rejects(session.next(signal), (error) => PeerError.is(error, 'SCHEDULER_REFUSED'))
  assert.equal(script.streams.length, 2)
  assert.deepEqual(script.hosts, ['me'])
})

test('Session tells once that the stream broke, and takes later reports for nothing', async (t) => {
  const lost = subscribed(t, 'dragonfly-peer:scheduler:lost')
  const script = new Script()
  const cut = deferred<void>()
  script.onRequest = async ({ request }) => {
    if (request.case === 'registerPeerRequest') return [parents('p1')]
    await cut.promise
    throw new ConnectError('Gone', Code.Unavailable)
  }
  const session = clientFor(t, [script]).open(registration)
  await session.next(signal)
  session.started()
  const broken = session.next(signal)
  cut.resolve()
  await assert.rejects(broken, (error) => PeerError.is(error, 'SCHEDULER_UNAVAILABLE'))
  assert.equal(await session.next(signal), undefined)
  for (let number = 0; number < 3; number++) session.pieceDone(report(number))
  session.reschedule([], 'late')
  await session.finish({ is: 'done', source: false })
  assert.equal(script.streams[0]?.length, 2)
  assert.deepEqual(lost, [{ address: '10.1.0.1:8002', reason: 'Gone' }])
})

test('Session asks the next scheduler when one is down, and no other once it was answered', async (t) => {
  const found = subscribed(t, 'dragonfly-peer:scheduler:found')
  const scripts = [new Script(), new Script(), new Script()]
  const asked: number[] = []
  for (const [at, script] of scripts.entries()) {
    script.onRequest = () => {
      asked.push(at)
      if (asked.length < 3) throw new ConnectError('Down', Code.Unavailable)
      return [parents('p1')]
    }
  }
  const session = clientFor(t, scripts).open(registration)
  assert.equal((await session.next(signal))?.is, 'parents')
  assert.deepEqual(asked.toSorted(), [0, 1, 2])
  assert.equal(found.length, 1)
})

test('Session stays with the scheduler that has answered, also when that one is lost', async (t) => {
  const scripts = [new Script(), new Script()]
  for (const script of scripts) {
    script.onRequest = ({ request }) => {
      if (request.case === 'registerPeerRequest') return [parents('p1')]
      throw new ConnectError('Gone', Code.Unavailable)
    }
  }
  const session = clientFor(t, scripts).open(registration)
  await session.next(signal)
  session.started()
  await assert.rejects(session.next(signal), (error) =>
    PeerError.is(error, 'SCHEDULER_UNAVAILABLE'),
  )
  await session.finish({ is: 'failed', source: false, reason: 'x' })
  assert.equal(scripts.flatMap(({ streams }) => streams).length, 1)
})

test('Session says when no scheduler can be reached', async (t) => {
  const scripts = [new Script(), new Script()]
  for (const script of scripts) {
    script.onRequest = () => {
      throw new ConnectError('Down', Code.Unavailable)
    }
  }
  const session = clientFor(t, scripts).open(registration)
  await assert.rejects(session.next(signal), (error) => {
    assert.ok(PeerError.is(error, 'SCHEDULER_UNAVAILABLE'))
    assert.equal(error.details.addresses.length, 2)
    assert.equal(error.details.reason, 'Down')
    return true
  })
  await session.finish({ is: 'failed', source: false, reason: 'x' })
})

test('Session says when there is no scheduler at all', async (t) => {
  const session = clientFor(t, []).open(registration)
  await assert.rejects(session.next(signal), (error) =>
    PeerError.is(error, 'SCHEDULER_UNAVAILABLE'),
  )
})

test('Session says when a scheduler refuses, and asks no other', async (t) => {
  const scripts = [new Script(), new Script()]
  for (const script of scripts) {
    script.onRequest = () => {
      throw new ConnectError('Forbidden', Code.FailedPrecondition)
    }
  }
  const session = clientFor(t, scripts).open(registration)
  await assert.rejects(session.next(signal), (error) => {
    assert.ok(PeerError.is(error, 'SCHEDULER_REFUSED'))
    assert.deepEqual(error.details, { method: 'AnnouncePeer', reason: 'Forbidden' })
    return true
  })
  assert.equal(scripts.flatMap(({ streams }) => streams).length, 1)
})

test('Session stops to listen to a scheduler that names nobody, again and again', async (t) => {
  const script = new Script()
  script.onRequest = async () => Array.from({ length: 10_000 }, () => parents())
  const session = clientFor(t, [script]).open(registration)
  let empty = 0
  await assert.rejects(
    async () => {
      for (;;) {
        const answer = await session.next(signal)
        assert.ok(answer?.is === 'parents' && answer.parents.length === 0)
        empty++
      }
    },
    (error) => PeerError.is(error, 'SCHEDULER_REFUSED'),
  )
  assert.equal(empty, uselessAnswersMax - 1)
})

test('Session reads on only as its answers are read', async (t) => {
  const script = new Script()
  let sent = 0
  script.more = {
    async *announcePeer() {
      for (; sent < 1000; sent++) yield parents('p1')
    },
  }
  const session = clientFor(t, [script]).open(registration)
  await session.next(signal)
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.ok(sent <= unreadMax + 2, `${sent} answers were taken`)
  let read = 1
  while ((await session.next(signal)) !== undefined) read++
  assert.equal(read, 1000)
})

test('Session drops the oldest reports when the scheduler does not take them', async (t) => {
  const script = new Script()
  const go = deferred<void>()
  const numbers: number[] = []
  script.onRequest = async ({ request }) => {
    if (request.case === 'registerPeerRequest') return [parents('p1')]
    await go.promise
    if (request.case === 'downloadPieceFinishedRequest') {
      numbers.push(request.value.piece?.number ?? -1)
    }
    return undefined
  }
  const session = clientFor(t, [script]).open(registration)
  await session.next(signal)
  session.started()
  const count = 3 * reportsMax
  for (let number = 0; number < count; number++) session.pieceDone(report(number))
  const finished = session.finish({ is: 'done', source: false })
  go.resolve()
  await finished
  assert.ok(numbers.length <= reportsMax + 2)
  assert.deepEqual(numbers.slice(-3), [count - 3, count - 2, count - 1])
  assert.equal(script.streams[0]?.[1], 'downloadPeerStartedRequest')
  assert.equal(script.streams[0]?.at(-1), 'downloadPeerFinishedRequest')
})

test('Session.next() gives up for its caller, and only for that one', async (t) => {
  const script = new Script()
  const go = deferred<void>()
  script.onRequest = async () => {
    await go.promise
    return [parents('p1')]
  }
  const session = clientFor(t, [script]).open(registration)
  const end = new AbortController()
  const first = session.next(end.signal)
  const reason = new Error('Enough')
  end.abort(reason)
  await assert.rejects(first, (error) => error === reason)
  go.resolve()
  assert.equal((await session.next(signal))?.is, 'parents')
})

test('Session.finish() waits for the scheduler only so long, and ends the stream then', async (t) => {
  const clock = new VirtualClock()
  const script = new Script()
  const never = deferred<undefined>()
  const ended = deferred<void>()
  script.more = {
    async *announcePeer(requests, { signal: gone }) {
      gone.addEventListener('abort', () => ended.resolve())
      for await (const { request } of requests) {
        if (request.case === 'registerPeerRequest') yield parents('p1')
        else await never.promise
      }
    },
  }
  const session = clientFor(t, [script], { clock }).open(registration)
  await session.next(signal)
  let done = false
  const finished = session.finish({ is: 'done', source: false }).then(() => {
    done = true
  })
  await clock.pass(1_990)
  assert.equal(done, false)
  await clock.pass(20)
  await finished
  await ended.promise
  assert.equal(clock.pending, 0)
})

test('Session.finish() may come before any answer', async (t) => {
  const script = new Script()
  script.onRequest = ({ request }) =>
    request.case === 'downloadPeerFailedRequest' ? 'end' : undefined
  const session = clientFor(t, [script]).open(registration)
  await session.finish({ is: 'failed', source: false, reason: 'Cancelled' })
  assert.deepEqual(script.streams, [['registerPeerRequest', 'downloadPeerFailedRequest']])
  assert.equal(await session.next(signal), undefined)
})

test('Session says that it started before it says that it is done, whatever it was told', async (t) => {
  const script = new Script()
  script.onRequest = ({ request }) =>
    request.case === 'registerPeerRequest'
      ? [{ response: { case: 'emptyTaskResponse', value: {} } }]
      : undefined
  const session = clientFor(t, [script]).open(registration)
  assert.equal((await session.next(signal))?.is, 'empty')
  await session.finish({ is: 'done', source: false })
  assert.deepEqual(script.streams[0], [
    'registerPeerRequest',
    'downloadPeerStartedRequest',
    'downloadPeerFinishedRequest',
  ])
})

test('Session ends with its client', async (t) => {
  const script = new Script()
  const client = clientFor(t, [script])
  const session = client.open(registration)
  const waiting = session.next(signal)
  client.close()
  await assert.rejects(waiting, (error) => PeerError.is(error, 'CLOSED'))
  await session.finish({ is: 'failed', source: false, reason: 'x' })
})

test('Session of a persistent cache task speaks that kind, and starts once', async (t) => {
  const said: (string | undefined)[] = []
  const channel = localChannel((router) => {
    router.service(Scheduler, {
      async *announcePersistentCachePeer(requests) {
        for await (const { request } of requests) {
          said.push(request.case)
          const again = request.case === 'reschedulePersistentCachePeerRequest'
          if (request.case !== 'registerPersistentCachePeerRequest' && !again) continue
          const host = { id: 'h', ip: '10.0.0.1', port: 4000 }
          const task = { id: 't', contentLength: 12n }
          yield {
            response: {
              case: 'normalPersistentCacheTaskResponse',
              value: { candidateCacheParents: [{ id: 'p', host, task }] },
            },
          }
        }
      },
    })
  })
  const client = new SchedulerClient({ ...clientOf(new Script()), open: () => channel })
  t.after(() => client.close())
  const kind = 'persistentCache'
  const session = client.open({ ...registration, spec: { ...spec, kind } })
  const answer = await session.next(signal)
  assert.ok(answer?.is === 'parents')
  assert.equal(answer.contentLength, 12)
  session.started()
  session.reschedule(answer.parents, 'slow')
  await session.next(signal)
  session.started()
  session.sourceStarted()
  session.pieceDone(report(0))
  session.pieceFailed(1, '')
  session.pieceFailed(1, 'p')
  await session.finish({ is: 'done', source: false })
  assert.deepEqual(said, [
    'registerPersistentCachePeerRequest',
    'downloadPersistentCachePeerStartedRequest',
    'reschedulePersistentCachePeerRequest',
    'downloadPieceFinishedRequest',
    'downloadPieceFailedRequest',
    'downloadPersistentCachePeerFinishedRequest',
  ])
})

test('Session of a kind that cannot be announced is refused', async (t) => {
  const client = clientFor(t, [new Script()])
  const session = client.open({ ...registration, spec: { ...spec, kind: 'persistent' } })
  await assert.rejects(session.next(signal), (error) => PeerError.is(error, 'SCHEDULER_REFUSED'))
})

import assert from 'node:assert/strict'
import test from 'node:test'

import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { localChannel } from '../../src/rpc/channel.ts'
import { SchedulerClient } from '../../src/scheduler/client.ts'
import { deferred } from '../../src/util/deferred.ts'
import { VirtualClock } from '../sim/clock.ts'
import {
  type Answered,
  clientFor,
  clientOf,
  goToSource,
  parents,
  registration,
  report,
  Script,
  spec,
} from './script.ts'

const signal = new AbortController().signal

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

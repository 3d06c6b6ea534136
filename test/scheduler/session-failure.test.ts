import assert from 'node:assert/strict'
import test from 'node:test'

import { Code, ConnectError } from '@connectrpc/connect'

import { PeerError } from '../../src/errors.ts'
import { unreadMax } from '../../src/scheduler/inbox.ts'
import { reportsMax } from '../../src/scheduler/report-queue.ts'
import { uselessAnswersMax } from '../../src/scheduler/session.ts'
import { deferred } from '../../src/util/deferred.ts'
import { clientFor, parents, registration, report, Script, spec, unknownHost } from './script.ts'
import { subscribed } from './subscribed.ts'

const signal = new AbortController().signal

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
      throw new ConnectError('Too often', Code.FailedPrecondition)
    }
  }
  const session = clientFor(t, scripts).open(registration)
  await assert.rejects(session.next(signal), (error) => {
    assert.ok(PeerError.is(error, 'SCHEDULER_REFUSED'))
    assert.deepEqual(error.details, { method: 'AnnouncePeer', reason: 'Too often' })
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

test('Session tells several pieces at once to a scheduler that takes them, and to no other', async (t) => {
  for (const ownSeveral of [true, false]) {
    const script = new Script()
    const numbers: number[][] = []
    script.onRequest = ({ request }) => {
      if (request.case === 'registerPeerRequest') {
        const { response } = parents('p1')
        assert.ok(response?.case === 'normalTaskResponse')
        const { candidateParents = [] } = response.value
        const value = { candidateParents, ownSeveral }
        return [{ response: { case: 'normalTaskResponse', value } }]
      }
      if (request.case === 'downloadPieceFinishedRequest') {
        numbers.push([request.value.piece?.number ?? -1, ...request.value.ownNumbers])
      }
      return undefined
    }
    const session = clientFor(t, [script]).open(registration)
    await session.next(signal)
    session.started()
    for (let number = 0; number < 4; number++) session.pieceDone(report(number))
    await session.finish({ is: 'done', source: false })
    assert.deepEqual(numbers, ownSeveral ? [[0, 1, 2, 3]] : [[0], [1], [2], [3]])
    assert.equal(script.streams[0]?.at(-1), 'downloadPeerFinishedRequest')
  }
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

test('Session ends with its client', async (t) => {
  const script = new Script()
  const client = clientFor(t, [script])
  const session = client.open(registration)
  const waiting = session.next(signal)
  client.close()
  await assert.rejects(waiting, (error) => PeerError.is(error, 'CLOSED'))
  await session.finish({ is: 'failed', source: false, reason: 'x' })
})

test('Session of a kind that cannot be announced is refused', async (t) => {
  const client = clientFor(t, [new Script()])
  const session = client.open({ ...registration, spec: { ...spec, kind: 'persistent' } })
  await assert.rejects(session.next(signal), (error) => PeerError.is(error, 'SCHEDULER_REFUSED'))
})

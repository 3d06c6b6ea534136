import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import { test } from 'node:test'

import { bench } from './bench.ts'
import { paths, requests } from './services.ts'
import { kinds, rawCall, until } from './wire.ts'

test('answerCall() sends the headers of a streaming call before its handler says anything', async (t) => {
  const on = await bench(t)
  for (const [path, body] of [
    [paths.syncPieces, requests.syncPieces('wait')],
    [paths.announcePeer, requests.announce('wait')],
    [paths.keepAlive, requests.keepAlive('any')],
  ] as const) {
    const call = rawCall(on.client, path, { body, end: path === paths.syncPieces })
    const headers = await call.headers
    assert.equal(headers[':status'], 200)
    assert.equal(headers['content-type'], 'application/grpc')
    assert.equal(headers['grpc-status'], undefined)
    call.stream.close(http2.constants.NGHTTP2_CANCEL)
    await call.story
  }
})

test('answerCall() does not apply the grpc-timeout of a streaming call', async (t) => {
  const on = await bench(t)
  const started = once(on.services, 'started')
  const headers = { 'grpc-timeout': '1m' }
  const body = requests.syncPieces('wait')
  const call = rawCall(on.client, paths.syncPieces, { body, end: true, headers })
  const [, signal, timeoutMs] = await started
  assert.equal(timeoutMs, undefined)
  await new Promise((resolve) => setTimeout(resolve, 30))
  assert.equal((signal as AbortSignal).aborted, false)
  call.stream.close(http2.constants.NGHTTP2_CANCEL)
  await call.story
})

test('answerCall() applies the grpc-timeout of a unary call', async (t) => {
  const on = await bench(t)
  const headers = { 'grpc-timeout': '10000u' }
  const body = requests.deleteHost('wait')
  const call = rawCall(on.client, paths.deleteHost, { body, end: true, headers })
  assert.deepEqual(await call.story, ['headers 200 grpc-status=4', 'closed 0'])
})

const endings = [
  {
    name: 'a stream that ends well',
    path: paths.announcePeer,
    body: requests.announce('finish'),
    story: ['headers 200', 'trailers grpc-status=0', 'closed 0'],
    frames: ['HEADERS', 'HEADERS+END', 'RST_STREAM 0'],
  },
  {
    name: 'a stream that fails',
    path: paths.announcePeer,
    body: requests.announce('fail'),
    story: ['headers 200', 'trailers grpc-status=9', 'closed 0'],
    frames: ['HEADERS', 'HEADERS+END', 'RST_STREAM 0'],
  },
  {
    name: 'a stream with an answer',
    path: paths.announcePeer,
    body: requests.announce('big'),
    story: ['headers 200', 'trailers grpc-status=0', 'closed 0'],
    frames: ['HEADERS', 'DATA', 'HEADERS+END', 'RST_STREAM 0'],
  },
  {
    name: 'a client stream that the handler leaves early',
    path: paths.keepAlive,
    body: Buffer.concat([requests.keepAlive('leave'), requests.keepAlive('x'.repeat(100_000))]),
    story: ['headers 200', 'trailers grpc-status=0', 'closed 0'],
    frames: ['HEADERS', 'DATA', 'HEADERS+END', 'RST_STREAM 0'],
  },
  {
    name: 'a status without a handler',
    path: '/scheduler.v2.Scheduler/NoSuchMethod',
    body: requests.deleteHost('any'),
    story: ['headers 200 grpc-status=12', 'closed 0'],
    frames: ['HEADERS+END', 'RST_STREAM 0'],
  },
] as const

for (const { name, path, body, story, frames } of endings) {
  test(`answerCall() resets an open request half after the status: ${name}`, async (t) => {
    const on = await bench(t, { limits: { callsMax: 1 } })
    // Twice: with room for one call, the second shows that the first is forgotten.
    for (const stream of [1, 3]) {
      const call = rawCall(on.client, path, { body })
      assert.deepEqual(await call.story, story)
      await until(() => kinds(on.tap.frames, stream).length === frames.length, 'all frames')
      assert.deepEqual(kinds(on.tap.frames, stream), frames)
    }
  })
}

test('answerCall() does not reset a call whose request half is ended', async (t) => {
  const on = await bench(t)
  const calls = [
    rawCall(on.client, paths.deleteHost, { body: requests.deleteHost('any'), end: true }),
    rawCall(on.client, paths.deleteHost, { body: requests.deleteHost('missing'), end: true }),
    rawCall(on.client, paths.syncPieces, { body: requests.syncPieces('any'), end: true }),
    rawCall(on.client, paths.announcePeer, { body: requests.announce('any'), end: true }),
  ]
  assert.deepEqual(await Promise.all(calls.map((call) => call.story)), [
    ['headers 200', 'trailers grpc-status=0', 'closed 0'],
    ['headers 200 grpc-status=5', 'closed 0'],
    ['headers 200', 'trailers grpc-status=0', 'closed 0'],
    ['headers 200', 'trailers grpc-status=0', 'closed 0'],
  ])
  // An answered ping shows that everything before it has arrived.
  await new Promise<void>((resolve) => on.client.ping(() => resolve()))
  assert.deepEqual(
    on.tap.frames.filter((frame) => frame.type === 'RST_STREAM'),
    [],
  )
})

test('answerCall() keeps status before reset when the connection is congested', async (t) => {
  const on = await bench(t)
  await rawCall(on.client, paths.deleteHost, { body: requests.deleteHost('any'), end: true }).story
  on.client.setLocalWindowSize(64 * 1024 * 1024)
  on.tap.pause()
  const body = requests.announce('big')
  // Every third has ended its request half.
  const calls = Array.from({ length: 60 }, (_, index) => {
    return rawCall(on.client, paths.announcePeer, { body, end: index % 3 === 0 })
  })
  // 15 MiB are more than the sockets between can hold.
  for (let left = 0; left < calls.length; left++) await once(on.services, 'started')
  on.tap.resume()
  const stories = await Promise.all(calls.map((call) => call.story))
  for (const story of stories) {
    assert.deepEqual(story, ['headers 200', 'trailers grpc-status=0', 'closed 0'])
  }
  for (const [index, { stream }] of calls.entries()) {
    const answer = ['HEADERS', 'DATA', 'HEADERS+END']
    const expected = index % 3 === 0 ? answer : [...answer, 'RST_STREAM 0']
    assert.deepEqual(kinds(on.tap.frames, stream.id ?? 0), expected)
  }
})

test('answerCall() answers other HTTP requests in HTTP', async (t) => {
  const on = await bench(t)
  const json = rawCall(on.client, paths.deleteHost, {
    headers: { 'content-type': 'application/json' },
  })
  assert.deepEqual(await json.story, ['headers 415', 'closed 0'])
  const get = rawCall(on.client, paths.deleteHost, { headers: { ':method': 'GET' } })
  assert.deepEqual(await get.story, ['headers 405', 'closed 0'])
})

test('answerCall() refuses a compressed message and one that is too long', async (t) => {
  const on = await bench(t, { limits: { requestBytesMax: 1000 } })
  const compressed = requests.deleteHost('any')
  compressed[0] = 1
  const headers = { 'grpc-encoding': 'gzip' }
  const gzip = rawCall(on.client, paths.deleteHost, { body: compressed, end: true, headers })
  assert.deepEqual(await gzip.story, ['headers 200 grpc-status=12', 'closed 0'])
  const long = requests.deleteHost('x'.repeat(1001))
  const call = rawCall(on.client, paths.deleteHost, { body: long, end: true })
  assert.deepEqual(await call.story, ['headers 200 grpc-status=8', 'closed 0'])
  // Only the promise of a long message: nothing of it is waited for.
  const promise = Buffer.from([0, 0xff, 0xff, 0xff, 0xff])
  const promised = rawCall(on.client, paths.announcePeer, { body: promise })
  assert.deepEqual(await promised.story, ['headers 200', 'trailers grpc-status=8', 'closed 0'])
})

test('answerCall() aborts the handler and frees the call when the client resets it', async (t) => {
  const on = await bench(t, { limits: { callsMax: 1 } })
  for (const [path, body, end] of [
    [paths.syncPieces, requests.syncPieces('wait'), true],
    [paths.announcePeer, requests.announce('wait'), false],
    [paths.announcePeer, requests.announce('echo'), false],
    [paths.deleteHost, requests.deleteHost('wait'), true],
  ] as const) {
    const started = once(on.services, 'started')
    const aborted = once(on.services, 'aborted')
    const call = rawCall(on.client, path, { body, end })
    await started
    call.stream.close(http2.constants.NGHTTP2_CANCEL)
    await aborted
    await call.story
  }
  const body = requests.deleteHost('any')
  const last = rawCall(on.client, paths.deleteHost, { body, end: true })
  assert.deepEqual(await last.story, ['headers 200', 'trailers grpc-status=0', 'closed 0'])
})

test('answerCall() ends the handler of a stream that is answering when the client vanishes', async (t) => {
  const on = await bench(t)
  const call = rawCall(on.client, paths.announcePeer, { body: requests.announce('echo') })
  await call.headers
  const left = once(on.services, 'left')
  on.client.destroy()
  assert.deepEqual(await left, ['announcePeer'])
})

test('answerCall() reads no more of a request than its handler wants', async (t) => {
  const on = await bench(t)
  const body = requests.announce('wait')
  const call = rawCall(on.client, paths.announcePeer, { body })
  await call.headers
  const flood = Buffer.alloc(1024 * 1024, requests.announce('wait'))
  const flushed = new Promise((resolve) => call.stream.write(flood, () => resolve('flushed')))
  const timer = new Promise((resolve) => setTimeout(() => resolve('stuck'), 100))
  assert.equal(await Promise.race([flushed, timer]), 'stuck')
  call.stream.close(http2.constants.NGHTTP2_CANCEL)
  await call.story
})

test('answerCall() hides what a handler threw from the client and shows it to onError', async (t) => {
  const errors: unknown[] = []
  const on = await bench(t, { onError: (error) => errors.push(error) })
  const unary = rawCall(on.client, paths.deleteHost, {
    body: requests.deleteHost('bug'),
    end: true,
  })
  assert.deepEqual(await unary.story, ['headers 200 grpc-status=13', 'closed 0'])
  const stream = rawCall(on.client, paths.syncPieces, {
    body: requests.syncPieces('bug'),
    end: true,
  })
  assert.deepEqual(await stream.story, ['headers 200', 'trailers grpc-status=13', 'closed 0'])
  assert.deepEqual(
    errors.map((error) => (error as Error).message),
    ['A bug', 'A bug'],
  )
})

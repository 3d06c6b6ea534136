import assert from 'node:assert/strict'
import { once } from 'node:events'
import { renameSync, statSync, writeFileSync } from 'node:fs'
import http2 from 'node:http2'
import net from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'

import { PeerError } from '../../src/errors.ts'
import { serveRpc } from '../../src/rpc/server.ts'
import { cleanup } from '../support/cleanup.ts'
import { leaks } from '../support/leaks.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { bench, connect } from './bench.ts'
import { paths, requests, TestServices } from './services.ts'
import { rawCall, until } from './wire.ts'

const unary = { body: requests.deleteHost('any'), end: true }
const success = ['headers 200', 'trailers grpc-status=0', 'closed 0']

test('serveRpc() announces its windows and limits on the wire', async (t) => {
  const on = await bench(t)
  await rawCall(on.client, paths.deleteHost, unary).story
  const [settings] = on.tap.frames.filter((frame) => frame.type === 'SETTINGS')
  const values = new Map<number, number>()
  for (let at = 0; at < (settings?.payload.length ?? 0); at += 6) {
    values.set(settings?.payload.readUInt16BE(at) ?? 0, settings?.payload.readUInt32BE(at + 2) ?? 0)
  }
  assert.equal(values.get(3), 1024, 'concurrent streams')
  assert.equal(values.get(4), 512 * 1024, 'stream window')
  assert.equal(values.get(5), 256 * 1024, 'frame size')
  assert.equal(values.get(6), 16 * 1024, 'header list size')
  const window = on.tap.frames.find((frame) => frame.type === 'WINDOW_UPDATE' && frame.stream === 0)
  assert.equal(window?.payload.readUInt32BE(0), 4 * 1024 * 1024 - 65535)
})

test('serveRpc() takes frames of 256 KiB', async (t) => {
  const on = await bench(t)
  const body = requests.deleteHost('x'.repeat(300 * 1024))
  assert.deepEqual(await rawCall(on.client, paths.deleteHost, { body, end: true }).story, success)
})

test('serveRpc() refuses calls over its bound and takes them again later', async (t) => {
  const on = await bench(t, { limits: { callsMax: 2 } })
  const waiting = [1, 2].map(() => {
    return rawCall(on.client, paths.syncPieces, { body: requests.syncPieces('gate'), end: true })
  })
  await Promise.all(waiting.map((call) => call.headers))
  const third = rawCall(on.client, paths.deleteHost, unary)
  assert.deepEqual(await third.story, ['headers 200 grpc-status=8', 'closed 0'])
  on.services.open()
  for (const call of waiting) assert.deepEqual(await call.story, success)
  assert.deepEqual(await rawCall(on.client, paths.deleteHost, unary).story, success)
})

test('serveRpc() takes calls of others when one address holds all there are', async (t) => {
  const on = await bench(t, { limits: { callsMax: 3 } })
  const body = requests.syncPieces('gate')
  const hog = [1, 2, 3].map(() => rawCall(on.client, paths.syncPieces, { body, end: true }))
  await Promise.all(hog.map((call) => call.headers))
  const other = connect(t, on.port, '127.0.0.2')
  assert.deepEqual(await rawCall(other, paths.deleteHost, unary).story, success)
  const [first, second, newest] = hog
  assert.match((await newest?.story)?.at(-1) ?? '', /^closed (11|8)$/)
  on.services.open()
  for (const call of [first, second]) assert.deepEqual(await call?.story, success)
})

test('serveRpc() takes connections of others when one address holds all there are', async (t) => {
  const on = await bench(t, { limits: { connectionsMax: 2 } })
  const body = requests.syncPieces('gate')
  const hog = [on.client, connect(t, on.port)].map((client) =>
    rawCall(client, paths.syncPieces, { body, end: true }),
  )
  await Promise.all(hog.map((call) => call.headers))
  const other = connect(t, on.port, '127.0.0.2')
  assert.deepEqual(await rawCall(other, paths.deleteHost, unary).story, success)
  on.services.open()
  const ends = await Promise.all(hog.map(async (call) => (await call.story).at(-1)))
  assert.equal(ends.filter((end) => end === success.at(-1)).length, 1, ends.join())
})

test('serveRpc() drops connections over its bound when all others ask for something', async (t) => {
  const on = await bench(t, { limits: { connectionsMax: 1 } })
  const call = rawCall(on.client, paths.syncPieces, {
    body: requests.syncPieces('gate'),
    end: true,
  })
  await call.headers
  const second = net.connect(on.port, '127.0.0.1')
  second.on('error', () => undefined)
  await once(second, 'close')
  on.services.open()
  assert.deepEqual(await call.story, success)
})

test('serveRpc() lets the oldest connection that asks for nothing give way to a new one', async (t) => {
  const on = await bench(t, { limits: { connectionsMax: 2 } })
  assert.deepEqual(await rawCall(on.client, paths.deleteHost, unary).story, success)
  const body = requests.syncPieces('gate')
  const busy = rawCall(connect(t, on.port), paths.syncPieces, { body, end: true })
  await busy.headers
  const newest = connect(t, on.port)
  assert.deepEqual(await rawCall(newest, paths.deleteHost, unary).story, success)
  await until(() => on.client.closed || on.client.destroyed, 'the first one is cut')
  on.services.open()
  assert.deepEqual(await busy.story, success)
})

test('serveRpc() cuts calls whose request does not come, and first when others want their place', async (t) => {
  const on = await bench(t, { limits: { callsMax: 2, requestTimeoutMs: 300 } })
  const body = requests.deleteHost('any')
  const late = [1, 2].map((count) =>
    rawCall(on.client, paths.deleteHost, { body: body.subarray(0, 4 + count) }),
  )
  // One at a time: the request of a call that waits must have come before the next wants its place.
  for (const _ of [1, 2]) {
    const other = rawCall(connect(t, on.port), paths.deleteHost, unary)
    assert.deepEqual(await other.story, success)
  }
  for (const call of late) assert.match((await call.story).at(-1) ?? '', /^closed (11|0|8)$/)
})

test('serveRpc() survives headers that are too long', async (t) => {
  const on = await bench(t)
  // The bound holds from when the client has acknowledged it; before, there is only nghttp2's own of 64 KiB.
  assert.deepEqual(await rawCall(on.client, paths.deleteHost, unary).story, success)
  const headers = { 'x-long': 'x'.repeat(20 * 1024) }
  const story = await rawCall(on.client, paths.deleteHost, { ...unary, headers }).story
  assert.ok(story.at(-1)?.startsWith('closed ') && !story.includes('headers 200'), story.join())
  const other = connect(t, on.port)
  assert.deepEqual(await rawCall(other, paths.deleteHost, unary).story, success)
})

test('serveRpc() survives what is not HTTP/2', async (t) => {
  const errors: unknown[] = []
  const on = await bench(t, { onError: (error) => errors.push(error) })
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
  const frameTooLong = Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])
  for (const garbage of ['GET / HTTP/1.1\r\n\r\n', `${preface}garbage garbage`, frameTooLong]) {
    const socket = net.connect(on.port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.resume()
    socket.write(garbage)
    if (garbage === frameTooLong) socket.resetAndDestroy()
    await once(socket, 'close')
  }
  assert.deepEqual(await rawCall(on.client, paths.deleteHost, unary).story, success)
  assert.ok(errors.length >= 2)
})

test('serveRpc() drops a connection that says nothing', async (t) => {
  const on = await bench(t, { limits: { handshakeTimeoutMs: 50 } })
  const socket = net.connect(on.port, '127.0.0.1')
  socket.resume()
  await once(socket, 'close')
})

test('serveRpc() drops a connection whose other end does not answer pings', async (t) => {
  const on = await bench(t, { limits: { pingIntervalMs: 40, pingTimeoutMs: 500 } })
  const body = requests.syncPieces('wait')
  const call = rawCall(on.client, paths.syncPieces, { body, end: true })
  await call.headers
  // Long enough for pings that are answered.
  await until(() => on.tap.frames.filter(({ type }) => type === 'PING').length >= 3, 'pings')
  const aborted = once(on.services, 'aborted')
  on.tap.pause()
  await aborted
})

test('RpcServer.close() lets calls finish and takes no new ones', async (t) => {
  const on = await bench(t)
  const body = requests.syncPieces('gate')
  const call = rawCall(on.client, paths.syncPieces, { body, end: true })
  await call.headers
  const closed = on.server.close()
  await until(() => on.tap.frames.some(({ type }) => type === 'GOAWAY'), 'goaway')
  const socket = net.connect(on.port, '127.0.0.1')
  const [refused] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  assert.equal(refused.code, 'ECONNREFUSED')
  on.services.open()
  assert.deepEqual(await call.story, success)
  await closed
  await on.server.close()
})

test('RpcServer.close() ends calls that do not finish in time', async (t) => {
  const on = await bench(t, { limits: { closeTimeoutMs: 50 } })
  const aborted = once(on.services, 'aborted')
  const call = rawCall(on.client, paths.announcePeer, { body: requests.announce('wait') })
  await call.headers
  await on.server.close()
  assert.deepEqual(await aborted, ['announcePeer'])
  const story = await call.story
  assert.ok(!story.includes('trailers grpc-status=0'))
})

test('RpcServer.close() does not wait for a client that never hangs up', async (t) => {
  const on = await bench(t, { limits: { closeTimeoutMs: 50 } })
  await rawCall(on.client, paths.deleteHost, unary).story
  on.tap.pause()
  await on.server.close()
})

test('RpcServer.destroy() ends everything at once, twice too', async (t) => {
  const on = await bench(t)
  const call = rawCall(on.client, paths.syncPieces, {
    body: requests.syncPieces('wait'),
    end: true,
  })
  await call.headers
  const aborted = once(on.services, 'aborted')
  on.server.destroy()
  on.server.destroy()
  await aborted
  await on.server.close()
  await call.story
})

test('serveRpc() is destroyed by its signal', async (t) => {
  const lifetime = new AbortController()
  const on = await bench(t, { signal: lifetime.signal })
  const call = rawCall(on.client, paths.syncPieces, {
    body: requests.syncPieces('wait'),
    end: true,
  })
  await call.headers
  lifetime.abort(new Error('over'))
  await call.story
  await on.server.close()
})

test('serveRpc() rejects with the reason of a signal that fired before or while it started', async (t) => {
  leaks(t)
  const reason = new Error('over')
  const target = { host: '127.0.0.1', port: 0, routes: () => undefined }
  await assert.rejects(serveRpc({ ...target, signal: AbortSignal.abort(reason) }), reason)
  const lifetime = new AbortController()
  const starting = serveRpc({ ...target, signal: lifetime.signal })
  lifetime.abort(reason)
  await assert.rejects(starting, reason)
})

test('serveRpc() rejects with LISTEN_FAILED when the port is taken', async (t) => {
  const on = await bench(t)
  const again = serveRpc({ host: '127.0.0.1', port: on.port, routes: () => undefined })
  await assert.rejects(again, (error) => {
    assert.ok(PeerError.is(error, 'LISTEN_FAILED'))
    assert.equal(error.details.address, `127.0.0.1:${on.port}`)
    return true
  })
})

test('serveRpc() serves a unix socket that only its owner may use', async (t) => {
  leaks(t)
  const path = join(tempFolder(t), 'peer.sock')
  const { routes } = new TestServices()
  const server = await serveRpc({ path, routes })
  cleanup(t, () => server.close())
  assert.deepEqual(server.address, { path })
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const client = http2.connect('http://localhost', { createConnection: () => net.connect(path) })
  cleanup(t, () => client.destroy())
  assert.deepEqual(await rawCall(client, paths.deleteHost, unary).story, success)
  const second = serveRpc({ path, routes })
  await assert.rejects(second, (error) => PeerError.is(error, 'LISTEN_FAILED'))
  client.destroy()
  await server.close()
  assert.throws(() => statSync(path), { code: 'ENOENT' })
})

test('serveRpc() replaces the socket of a dead process, and nothing else', async (t) => {
  leaks(t)
  const folder = tempFolder(t)
  const path = join(folder, 'peer.sock')
  await leaveSocketBehind(path)
  const server = await serveRpc({ path, mode: 0o660, routes: () => undefined })
  assert.equal(statSync(path).mode & 0o777, 0o660)
  await server.close()
  const file = join(folder, 'file')
  writeFileSync(file, 'precious')
  const onFile = serveRpc({ path: file, routes: () => undefined })
  await assert.rejects(onFile, (error) => PeerError.is(error, 'LISTEN_FAILED'))
  assert.equal(statSync(file).size, 8)
})

/** What a killed process leaves: a socket file that nobody listens on. */
async function leaveSocketBehind(path: string): Promise<void> {
  const server = net.createServer()
  await new Promise<void>((resolve) => server.listen(`${path}.first`, resolve))
  renameSync(`${path}.first`, path)
  await new Promise((resolve) => server.close(resolve))
}

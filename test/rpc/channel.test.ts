import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'

import { Code, ConnectError, createClient } from '@connectrpc/connect'

import { addressText } from '../../src/rpc/address.ts'
import {
  type Channel,
  type ChannelOptions,
  localChannel,
  openChannel,
} from '../../src/rpc/channel.ts'
import { DfdaemonUpload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { rpcError } from '../../src/rpc/rpc-error.ts'
import { serveRpc } from '../../src/rpc/server.ts'
import { cleanup, type Ending } from '../support/cleanup.ts'
import { leaks } from '../support/leaks.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { bench } from './bench.ts'
import { certificates } from './certificates.ts'
import { TestServices } from './services.ts'
import { portOf, until } from './wire.ts'

function connectTo(t: Ending, options: ChannelOptions): Channel {
  const channel = openChannel(options)
  cleanup(t, () => channel.close())
  return channel
}

/** Requests of AnnouncePeer with these task ids, and then no end until `ended`. */
async function* announcements(tasks: readonly string[], ended?: Promise<unknown>) {
  for (const taskId of tasks) yield { hostId: 'host', taskId, peerId: 'peer' }
  await ended
}

function fails(is: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal(rpcError(error).is, is, String(error))
    return true
  }
}

const channels = {
  openChannel: async (t: Ending) => {
    const on = await bench(t)
    return {
      services: on.services,
      channel: connectTo(t, { address: `127.0.0.1:${on.tap.port}` }),
    }
  },
  localChannel: async (t: Ending) => {
    leaks(t)
    const services = new TestServices()
    const channel = localChannel(services.routes)
    cleanup(t, () => channel.close())
    return { services, channel }
  },
}

for (const [name, make] of Object.entries(channels)) {
  test(`${name}() carries unary calls and their errors`, async (t) => {
    const { channel } = await make(t)
    const client = createClient(Scheduler, channel)
    await client.deleteHost({ hostId: 'any' })
    await assert.rejects(client.deleteHost({ hostId: 'missing' }), fails('not-found'))
    await assert.rejects(client.deleteHost({ hostId: 'bug' }), fails('internal'))
    await assert.rejects(client.statPeer({}), fails('unimplemented'))
    const late = client.deleteHost({ hostId: 'wait' }, { timeoutMs: 20 })
    await assert.rejects(late, fails('timeout'))
  })

  test(`${name}() carries a server stream`, async (t) => {
    const { channel } = await make(t)
    const client = createClient(DfdaemonUpload, channel)
    const numbers: number[] = []
    const request = { taskId: 'any', interestedPieceNumbers: [5, 3, 4] }
    for await (const { number } of client.syncPieces(request)) numbers.push(number)
    assert.deepEqual(numbers, [5, 3, 4])
  })

  test(`${name}() carries a dialogue, and the server's end of it while ours is open`, async (t) => {
    const { channel } = await make(t)
    const client = createClient(Scheduler, channel)
    const never = new Promise(() => undefined)
    const answers: unknown[] = []
    for await (const { response } of client.announcePeer(
      announcements(['one', 'two', 'finish'], never),
    )) {
      answers.push(response.value)
    }
    assert.equal(answers.length, 2)
    const failing = client.announcePeer(announcements(['one', 'fail'], never))
    await assert.rejects(async () => {
      for await (const _ of failing) continue
    }, fails('precondition'))
  })

  test(`${name}() frees a stream on both sides when its signal fires`, async (t) => {
    const { channel, services } = await make(t)
    const client = createClient(DfdaemonUpload, channel)
    const controller = new AbortController()
    const aborted = once(services, 'aborted')
    const left = once(services, 'left')
    const request = { taskId: 'wait', interestedPieceNumbers: [1] }
    const reading = (async () => {
      for await (const _ of client.syncPieces(request, { signal: controller.signal })) {
        controller.abort(new Error('enough'))
      }
    })()
    await assert.rejects(reading, (error) => {
      assert.ok(error instanceof ConnectError)
      assert.equal(error.code, Code.Canceled)
      return true
    })
    await aborted
    await left
  })

  test(`${name}() fails calls under way and later ones after close()`, async (t) => {
    const { channel, services } = await make(t)
    const client = createClient(Scheduler, channel)
    const started = once(services, 'started')
    const unary = client.deleteHost({ hostId: 'wait' })
    const rejected = assert.rejects(unary, fails('unavailable'))
    await started
    channel.close()
    channel.close()
    await rejected
    await assert.rejects(client.deleteHost({ hostId: 'any' }), fails('unavailable'))
  })
}

test('openChannel() gives a slow reader all messages of a stream that was reset after its status', async (t) => {
  const on = await bench(t)
  const client = createClient(Scheduler, connectTo(t, { address: `127.0.0.1:${on.port}` }))
  const never = new Promise(() => undefined)
  const left = once(on.services, 'left')
  let bytes = 0
  for await (const { response } of client.announcePeer(announcements(['a', 'b', 'big'], never))) {
    // The handler is long done when the first message is looked at.
    if (bytes === 0) await left
    assert.ok(response.case === 'needBackToSourceResponse')
    bytes += response.value.description?.length ?? 0
  }
  assert.equal(bytes, 2 + 256 * 1024)
})

test('openChannel() reaches a unix socket', async (t) => {
  leaks(t)
  const path = join(tempFolder(t), 'peer.sock')
  const server = await serveRpc({ path, routes: new TestServices().routes })
  cleanup(t, () => server.close())
  const client = createClient(Scheduler, connectTo(t, { address: addressText(server.address) }))
  await client.deleteHost({ hostId: 'any' })
})

test('openChannel() with tls shows its certificate and checks that of the server', async (t) => {
  leaks(t)
  const { ca, serverCert: cert, serverKey: key, clientCert, clientKey } = certificates
  const server = await serveRpc({
    host: '127.0.0.1',
    port: 0,
    routes: new TestServices().routes,
    tls: { cert, key, ca },
  })
  cleanup(t, () => server.close())
  const address = addressText(server.address)
  const call = (tls?: ChannelOptions['tls']) => {
    const channel = connectTo(t, tls === undefined ? { address } : { address, tls })
    return createClient(Scheduler, channel).deleteHost({ hostId: 'any' })
  }
  const own = { cert: clientCert, key: clientKey }
  await call({ ca, ...own })
  await call({ ca, ...own, serverName: 'server.test' })
  await assert.rejects(call({ ca }), fails('unavailable'))
  await assert.rejects(call({ ...own }), fails('unavailable'))
  await assert.rejects(call({ ca, ...own, serverName: 'other.test' }), fails('unavailable'))
  await assert.rejects(call(), fails('unavailable'))
})

test('openChannel() calls a server that cannot be reached unavailable', async (t) => {
  leaks(t)
  const closed = net.createServer()
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
  const port = portOf(closed)
  await new Promise((resolve) => closed.close(resolve))
  for (const address of [`127.0.0.1:${port}`, `unix:${join(tempFolder(t), 'no.sock')}`]) {
    const client = createClient(Scheduler, connectTo(t, { address }))
    await assert.rejects(client.deleteHost({}), fails('unavailable'))
    // Again, and not only the memory of the first failure.
    await assert.rejects(client.deleteHost({}), fails('unavailable'))
  }
})

test('openChannel() gives up connecting after connectTimeoutMs', async (t) => {
  leaks(t)
  const sockets = new Set<net.Socket>()
  const mute = net.createServer((socket) => sockets.add(socket))
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
  cleanup(t, () => {
    for (const socket of sockets) socket.destroy()
    mute.close()
  })
  // Connected in no time, but the TLS handshake is never answered.
  const address = `127.0.0.1:${portOf(mute)}`
  const channel = connectTo(t, { address, tls: {}, connectTimeoutMs: 30 })
  const error = await createClient(Scheduler, channel)
    .deleteHost({})
    .then(
      () => undefined,
      (reason: unknown) => reason,
    )
  assert.match(String(error), /No connection in 30 ms/)
  assert.equal(rpcError(error).is, 'unavailable')
})

test('Channel.close() ends connecting', async (t) => {
  leaks(t)
  const mute = net.createServer((socket) => cleanup(t, () => void socket.destroy()))
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
  cleanup(t, () => void mute.close())
  const channel = openChannel({ address: `127.0.0.1:${portOf(mute)}`, tls: {} })
  const call = createClient(Scheduler, channel).deleteHost({})
  const rejected = assert.rejects(call, fails('unavailable'))
  await once(mute, 'connection')
  channel.close()
  await rejected
})

test('openChannel() closes an idle connection and opens a new one for the next call', async (t) => {
  const on = await bench(t)
  const sessions = await sessionsOf(t, () => on.port)
  const channel = connectTo(t, { address: `127.0.0.1:${sessions.port}`, idleTimeoutMs: 30 })
  const client = createClient(Scheduler, channel)
  await Promise.all([client.deleteHost({}), client.deleteHost({}), client.deleteHost({})])
  assert.deepEqual([sessions.opened, sessions.open.size], [1, 1])
  await until(() => sessions.open.size === 0, 'idle connection closes')
  await client.deleteHost({})
  assert.equal(sessions.opened, 2)
})

/** A proxy that counts connections; each goes to the port that `port` says at that time. */
async function sessionsOf(t: Ending, port: () => number) {
  const open = new Set<net.Socket>()
  const counts = { port: 0, opened: 0, open }
  const proxy = net.createServer((socket) => {
    counts.opened++
    open.add(socket)
    const upstream = net.connect(port(), '127.0.0.1')
    socket.on('error', () => undefined)
    upstream.on('error', () => undefined)
    socket.on('close', () => {
      open.delete(socket)
      upstream.destroy()
    })
    upstream.on('close', () => socket.destroy())
    socket.pipe(upstream).pipe(socket)
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  cleanup(t, () => {
    for (const socket of open) socket.destroy()
    proxy.close()
  })
  counts.port = portOf(proxy)
  return counts
}

test('openChannel() finishes calls on a connection that the server retires, and opens another', async (t) => {
  const old = await bench(t)
  const fresh = await bench(t)
  let port = old.port
  const sessions = await sessionsOf(t, () => port)
  const channel = connectTo(t, { address: `127.0.0.1:${sessions.port}` })
  const numbers: number[] = []
  const first = (async () => {
    const request = { taskId: 'gate', interestedPieceNumbers: [1, 2] }
    const messages = createClient(DfdaemonUpload, channel).syncPieces(request)
    for await (const { number } of messages) numbers.push(number)
  })()
  await once(old.services, 'started')
  port = fresh.port
  const closing = old.server.close()
  // Calls go to the old connection until its farewell has arrived; the old server turns them away.
  const client = createClient(Scheduler, channel)
  await untilResolved(() => client.deleteHost({}))
  assert.equal(sessions.opened, 2)
  assert.deepEqual(numbers, [])
  old.services.open()
  await first
  await closing
  assert.deepEqual(numbers, [1, 2])
  await until(() => sessions.open.size === 1, 'the old connection is gone')
})

test('Channel.onLost() tells of a connection that breaks or is retired, not of an idle one', async (t) => {
  const on = await bench(t)
  const sessions = await sessionsOf(t, () => on.port)
  const address = `127.0.0.1:${sessions.port}`
  const idle = connectTo(t, { address, idleTimeoutMs: 30 })
  let told = 0
  idle.onLost?.(() => told++)
  await createClient(Scheduler, idle).deleteHost({})
  await until(() => sessions.open.size === 0, 'idle connection closes')
  assert.equal(told, 0)
  const channel = connectTo(t, { address })
  channel.onLost?.(() => told++)
  const client = createClient(Scheduler, channel)
  await client.deleteHost({})
  for (const socket of sessions.open) socket.destroy()
  await until(() => told === 1, 'the break is told')
  await client.deleteHost({})
  const closed = on.server.close()
  await until(() => told === 2, 'the farewell is told')
  await closed
  channel.close()
  await until(() => sessions.open.size === 0, 'everything is closed')
  assert.equal(told, 2)
})

/** Calls until it succeeds; every failure must say `unavailable`. */
async function untilResolved(call: () => Promise<unknown>): Promise<void> {
  const deadline = Date.now() + 2000
  for (;;) {
    try {
      await call()
      return
    } catch (error) {
      fails('unavailable')(error)
      if (Date.now() > deadline) throw error
    }
  }
}

test('openChannel() notices with a ping that the server is gone', async (t) => {
  const on = await bench(t)
  const address = `127.0.0.1:${on.tap.port}`
  const channel = connectTo(t, { address, pingIntervalMs: 40, pingTimeoutMs: 500 })
  const call = createClient(Scheduler, channel).deleteHost({ hostId: 'wait' })
  const rejected = assert.rejects(call, fails('unavailable'))
  await once(on.services, 'started')
  await until(() => on.tap.frames.filter(({ type }) => type === 'PING').length >= 2, 'pings')
  on.tap.pause()
  await rejected
})

test('openChannel() calls a connection that breaks during a call unavailable', async (t) => {
  const on = await bench(t)
  const address = `127.0.0.1:${on.port}`
  const client = createClient(DfdaemonUpload, connectTo(t, { address }))
  const started = once(on.services, 'started')
  const early = client.deleteTask({})
  await assert.rejects(early, fails('unimplemented'))
  const request = { taskId: 'wait', interestedPieceNumbers: [1] }
  const reading = (async () => {
    for await (const _ of client.syncPieces(request)) continue
  })()
  const rejected = assert.rejects(reading, fails('unavailable'))
  const unary = createClient(Scheduler, connectTo(t, { address })).deleteHost({ hostId: 'wait' })
  const unaryRejected = assert.rejects(unary, fails('unavailable'))
  await started
  await until(() => on.services.listenerCount('started') === 0, 'started')
  on.server.destroy()
  await rejected
  await unaryRejected
})

test('openChannel() does not wait for ever for a call that the server ends without a word', async (t) => {
  leaks(t)
  const server = http2.createServer()
  server.on('stream', (stream) => stream.close(http2.constants.NGHTTP2_NO_ERROR))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanup(t, () => void server.close())
  const client = createClient(Scheduler, connectTo(t, { address: `127.0.0.1:${portOf(server)}` }))
  await assert.rejects(client.deleteHost({}), fails('unavailable'))
})

test('openChannel() refuses messages over its bound, before they are there', async (t) => {
  const on = await bench(t)
  const address = `127.0.0.1:${on.port}`
  const channel = connectTo(t, { address, messageBytesMax: 1000 })
  const client = createClient(Scheduler, channel)
  await assert.rejects(async () => {
    for await (const _ of client.announcePeer(announcements(['big']))) continue
  }, fails('exhausted'))
  await assert.rejects(client.deleteHost({ hostId: 'x'.repeat(2000) }), fails('exhausted'))
})

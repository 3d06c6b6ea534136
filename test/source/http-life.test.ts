import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { type AddressInfo, type Server, createServer } from 'node:net'
import { describe, test } from 'node:test'
import { http } from '../../src/source/http.ts'
import { Sources } from '../../src/source/sources.ts'
import { gate } from './gate.ts'
import { httpWorld } from './http-world.ts'
import { fixed } from './range-server.ts'
import { firstChunk, readAll, rejection } from './reading.ts'

/** Far above what these tests need, and far below the limits that would end a wait which should not be. */
const soon = { timeout: 8000 }

describe('http.read(): time and connections', () => {
  const world = httpWorld()
  const { content } = world

  test('http.read() fails with ORIGIN_UNREACHABLE when nobody listens or no such host exists', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const port = portOf(taken)
    taken.close()
    await once(taken, 'close')
    const refused = await rejection(
      readAll(world.bind(`http://127.0.0.1:${port}/`)),
      'ORIGIN_UNREACHABLE',
    )
    assert.deepEqual([refused.details.reason, refused.details.attempts], ['ECONNREFUSED', 5])
    const nowhere = await rejection(
      readAll(world.bind('http://nothing.invalid/')),
      'ORIGIN_UNREACHABLE',
    )
    assert.match(nowhere.details.reason, /^E(NOTFOUND|AI_AGAIN)$/)
  })

  test('http.read() fails with ORIGIN_UNREACHABLE when the answer or its body stays away', async () => {
    const impatient = new Sources([
      http({ headersTimeoutMs: 40, idleTimeoutMs: 40, retriesMax: 0, clock: world.clock }),
    ])
    const silent = world.server.on('/silent', () => undefined)
    const stalls = world.server.on('/stalls', (_, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('some')
    })
    const reasonOf = async (url: string): Promise<string> => {
      const reading = readAll(impatient.bind({ url, headers: {} }))
      const error = await rejection(reading, 'ORIGIN_UNREACHABLE')
      return error.details.reason
    }
    const reasons = await Promise.all([silent, stalls].map(reasonOf))
    assert.deepEqual(reasons, ['headers timeout', 'idle timeout'])
    await impatient.close()
  })

  test('http.read() takes no more from the origin than its consumer takes', async () => {
    let sent = 0
    const url = world.server.on('/faucet', (_, response) => {
      const pour = (): void => {
        while (!response.destroyed && response.write(content)) sent += content.length
      }
      response.on('drain', pour)
      pour()
    })
    const reading = world.bind(url).read({ offset: 0 }, new AbortController().signal)
    const chunks = reading[Symbol.asyncIterator]()
    await chunks.next()
    // Until the buffers of both sockets are full the server may go on; then it must stand still.
    let still = 0
    let last = -1
    await gate(() => {
      still = sent === last ? still + 1 : 0
      last = sent
      return still === 300
    })
    assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes`)
    await chunks.return?.()
  })

  test('http.read() closes its connection when it is cancelled, in every state', async () => {
    const closed: string[] = []
    const track = (response: ServerResponse, path: string): void => {
      response.on('close', () => closed.push(path))
    }
    const waiting = world.server.on('/waiting', (_, response) => track(response, 'waiting'))
    const flowing = world.server.on('/flowing', (_, response) => {
      track(response, 'flowing')
      response.writeHead(200, { 'content-length': 10_000 }).write('some')
    })
    const cancel = async (url: string, path: string, chunksBefore: number): Promise<void> => {
      const controller = new AbortController()
      const reason = new Error(path)
      const reading = world.bind(url).read({ offset: 0 }, controller.signal)
      const chunks = reading[Symbol.asyncIterator]()
      for (let at = 0; at < chunksBefore; at++) await chunks.next()
      const next = chunks.next()
      await gate(() => world.server.seen.some((seen) => seen.path === `/${path}`))
      controller.abort(reason)
      await assert.rejects(next, (error) => error === reason)
      await gate(() => closed.includes(path))
    }
    await cancel(waiting, 'waiting', 0)
    await cancel(flowing, 'flowing', 1)
    await world.server.idle()
  })

  test(
    'http.read() gives up a connection that is being made when it is cancelled, at once, and in any case after a time',
    soon,
    async () => {
      // It accepts and then says nothing, so the TLS handshake never ends.
      let closed = 0
      const mute = createServer((socket) => {
        socket.on('close', () => closed++).on('error', () => undefined)
        socket.resume()
      }).listen(0, '127.0.0.1')
      await once(mute, 'listening')
      const url = `https://127.0.0.1:${portOf(mute)}/`
      const controller = new AbortController()
      const reason = new Error('enough')
      const reading = readAll(world.bind(url), { offset: 0 }, controller.signal)
      await once(mute, 'connection')
      controller.abort(reason)
      await assert.rejects(reading, (error) => error === reason)
      await gate(() => closed === 1)

      const impatient = new Sources([
        http({ connectTimeoutMs: 30, retriesMax: 0, clock: world.clock }),
      ])
      const late = readAll(impatient.bind({ url, headers: {} }))
      const error = await rejection(late, 'ORIGIN_UNREACHABLE')
      assert.deepEqual([error.details.reason, error.details.attempts], ['connect timeout', 1])

      const closing = readAll(world.bind(url))
      await once(mute, 'connection')
      await world.sources.close()
      await rejection(closing, 'CLOSED')
      await impatient.close()
      await gate(() => closed === 3)
      mute.close()
    },
  )

  test('http.read() that is left early closes its connection', soon, async () => {
    let closed = false
    const url = world.server.on('/left', (_, response) => {
      response.on('close', () => (closed = true))
      response.writeHead(200, { 'content-length': 10_000 }).write('some')
    })
    await firstChunk(world.bind(url))
    await gate(() => closed)
  })

  test('http.read() waits for no byte beyond its part', soon, async () => {
    const url = world.server.on('/beyond', (_, response) => {
      response.writeHead(200, { 'content-length': 300_000 }).write(content.subarray(0, 100))
    })
    const read = await readAll(world.bind(url), { offset: 0, length: 100 })
    assert.deepEqual(read, content.slice(0, 100))
    const chunked = world.server.on('/beyond-chunked', (_, response) => {
      response.writeHead(206, { 'content-range': 'bytes 0-99/300000' })
      response.write(content.subarray(0, 100))
    })
    const part = await readAll(world.bind(chunked), { offset: 0, length: 100 })
    assert.deepEqual(part, content.slice(0, 100))
  })

  test('http.read() cancelled in a pause ends at once and asks no more', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const patient = new Sources([
      http({
        clock: {
          now: () => 0,
          date: () => 0,
          after: () => {
            queueMicrotask(() => controller.abort(reason))
            return () => undefined
          },
        },
      }),
    ])
    const url = world.server.on('/pause', fixed(503, { 'retry-after': '30' }))
    const reading = readAll(patient.bind({ url, headers: {} }), { offset: 0 }, controller.signal)
    await assert.rejects(reading, (error) => error === reason)
    assert.equal(world.server.seen.length, 1)
    await patient.close()
  })

  test('http.close() ends what is being read, with CLOSED', async () => {
    const url = world.server.on('/held', (_, response) => {
      response.writeHead(200, { 'content-length': 10_000 }).write('some')
    })
    const reading = readAll(world.bind(url))
    await gate(() => world.server.seen.length === 1)
    await world.sources.close()
    await rejection(reading, 'CLOSED')
    await rejection(readAll(world.bind(url)), 'CLOSED')
  })

  test('http.read() opens no more connections to one origin than allowed, and serves all', async () => {
    const narrow = new Sources([http({ connectionsPerOrigin: 2 })])
    const origin = narrow.bind({
      url: world.server.put('/narrow', { bytes: content }),
      headers: {},
    })
    let most = 0
    const reads = Array.from({ length: 10 }, async (_, at) => {
      const read = await readAll(origin, { offset: at, length: 1000 })
      most = Math.max(most, await world.server.connections())
      return read.length
    })
    assert.deepEqual(await Promise.all(reads), Array(10).fill(1000))
    assert.ok(most <= 2, `${most} connections`)
    await narrow.close()
  })
})

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}

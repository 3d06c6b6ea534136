import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { PeerError } from '../../src/errors.ts'
import { http, type HttpOptions } from '../../src/source/http.ts'
import { Sources } from '../../src/source/sources.ts'
import { readPiece } from '../../src/task/origin-read.ts'
import type { Origin } from '../../src/task/ports.ts'
import { loadFlow } from '../../src/util/flow.ts'
import { cleanup } from '../support/cleanup.ts'
import { pieceAt } from '../../src/task/piece.ts'
import { digestOf, fill, MiB, never } from '../storage/filling.ts'
import { gate } from './gate.ts'
import { httpWorld } from './http-world.ts'
import {
  content,
  filledBy,
  half,
  head,
  inParts,
  inTurns,
  rawServer,
  scene,
  watched,
} from './passing.ts'
import { rejection } from './reading.ts'

if (loadFlow() !== undefined) {
  describe('http.read() with a slot', () => {
    const world = httpWorld()
    /** With an origin of its own settings. */
    const bound = (t: TestContext, url: string, options: HttpOptions): Origin => {
      const sources = new Sources([http({ clock: world.clock, random: () => 0.5, ...options })])
      cleanup(t, async () => sources.close())
      return sources.bind({ url, headers: {} })
    }
    const put = (path: string, more = {}): string =>
      world.server.put(path, { bytes: content.bytes(), etag: '"one"', ...more })

    test('http.read() puts what comes over plain HTTP into the slot by itself, over connections that are used again', async (t) => {
      const { task, read } = await scene(t)
      const origin = watched(world.bind(put('/passes')))
      const before = world.server.accepted
      for (let number = 0; number < task.geometry.pieceCount; number++) await read(origin, number)
      // One is in use while the other is on its way back to the pool.
      assert.ok(world.server.accepted - before <= 2)
      // Rests that are not worth it.
      assert.ok(origin.yielded < 4 * 128 * 1024, `${origin.yielded} bytes were yielded`)
    })

    test('http.read() puts what was read together with the fields into the slot as well', async (t) => {
      const { task, slot } = await scene(t)
      const together = await rawServer(t, (socket, [first, last]) => {
        socket.write(
          Buffer.concat([Buffer.from(head(first, last - first + 1)), content.bytes(first, 1000)]),
        )
        socket.write(content.bytes(first + 1000, last - first - 999))
      })
      const inner = await slot(0)
      let before = 0
      const whole = filledBy(inner, async (socket, signal) => {
        before = inner.filled
        let count = -1
        // To its end, so that no rest is left for another way.
        while (count !== 0 && inner.filled < inner.piece.length) {
          count = (await inner.fillFrom?.(socket, signal)) ?? assert.fail()
        }
        return inner.filled - before
      })
      const origin = watched(bound(t, together.url, {}))
      await readPiece({ origin, shownUrl: '', validator: undefined }, inner.piece, whole, never)
      assert.equal(await inner.finish(), digestOf(content, pieceAt(task.geometry, 0)))
      assert.equal(origin.yielded, 0)
      assert.ok(before >= 1000)
      inner.release()
    })

    test('http.read() yields everything with `native: false`', async (t) => {
      const { read } = await scene(t)
      const origin = watched(bound(t, put('/by-script'), { native: false }))
      await read(origin, 0)
      assert.equal(origin.yielded, 4 * MiB)
    })

    test('http.read() goes on in the slot where a connection broke, and yields the end of it', async (t) => {
      const { read } = await scene(t)
      const breaks = [1, 100_000, 3 * MiB, 500_000]
      await read(watched(world.bind(put('/breaks', { breaks }))), 1)
      const { seen } = world.server
      assert.equal(seen.length, 5)
      const first = Number(/^bytes=(\d+)-/.exec(seen[1]?.headers.range ?? '')?.[1])
      assert.equal(first, 4 * MiB + 1)
    })

    test('http.read() fills the slot anew when the origin fell silent in the middle, and loses nothing when it does so again', async (t) => {
      const { read } = await scene(t)
      const url = put('/stalls')
      let stalls = 7
      world.server.on('/stalls', (request, response) => {
        if (stalls-- > 0) void half(request, response)
        else world.server.answer(request, response)
      })
      await read(watched(bound(t, url, { idleTimeoutMs: 100 })), 1)
      const left = [4, 4, 2, 1, 1 / 2, 1 / 4, 1 / 8, 1 / 16]
      assert.deepEqual(
        world.server.seen.map(({ headers }) => headers.range),
        left.map((part) => `bytes=${8 * MiB - part * MiB}-${8 * MiB - 1}`),
      )
    })

    test('http.read() is content with a slot whose last byte came together with the end of patience', async (t) => {
      const { task, slot } = await scene(t)
      const url = put('/late')
      world.server.on('/late', (request, response) => void half(request, response))
      const inner = await slot(0)
      const late = filledBy(inner, async (_, signal) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        await fill(inner, content)
        throw signal.reason
      })
      const access = {
        origin: bound(t, url, { idleTimeoutMs: 50 }),
        shownUrl: '',
        validator: undefined,
      }
      await readPiece(access, inner.piece, late, never)
      assert.equal(await inner.finish(), digestOf(content, pieceAt(task.geometry, 0)))
      inner.release()
    })

    test('http.read() gives an origin all of its time again when the slot was slow before', async (t) => {
      const { task, slot } = await scene(t)
      const idleTimeoutMs = 1000
      let asked = 0
      let goOn = (): void => undefined
      const late = await rawServer(t, (socket, [first, last]) => {
        asked++
        socket.write(head(first, last - first + 1))
        goOn = () => void socket.write(content.bytes(first, last - first + 1))
      })
      const inner = await slot(0)
      let looks = 0
      let looked = (): void => undefined
      const slow = filledBy(inner, async () => {
        await new Promise<void>((resolve) => (looked = resolve))
        // Nothing comes before the origin has all of its time again.
        const { setTimeout: begin } = globalThis
        t.mock.method(globalThis, 'setTimeout', (...given: Parameters<typeof begin>) => {
          if (given[1] === idleTimeoutMs) goOn()
          return begin(...given)
        })
        return 0
      })
      Object.defineProperty(slow, 'silentMs', {
        get: () => {
          if (++looks === 2) looked()
          return idleTimeoutMs - 10
        },
      })
      const access = {
        origin: bound(t, late.url, { idleTimeoutMs, retriesMax: 0 }),
        shownUrl: '',
        validator: undefined,
      }
      await readPiece(access, inner.piece, slow, never)
      assert.equal(await inner.finish(), digestOf(content, pieceAt(task.geometry, 0)))
      assert.deepEqual([asked, looks], [1, 2])
      inner.release()
    })

    test('http.read() ends with the reason of its signal in the middle of a slot', async (t) => {
      const { read } = await scene(t)
      const url = put('/cancelled')
      const stop = new AbortController()
      const reason = new Error('enough')
      let closed = 0
      world.server.on('/cancelled', (request, response) => {
        response.once('close', () => closed++)
        void half(request, response).then(() => stop.abort(reason))
      })
      await assert.rejects(read(world.bind(url), 0, stop.signal), (error) => error === reason)
      await gate(() => closed === 1)
    })

    test('http.read() ends in the middle of a slot when its source is closed', async (t) => {
      const { read } = await scene(t)
      const sources = new Sources([http({ clock: world.clock })])
      let closing: Promise<void> | undefined
      world.server.on('/closed', (request, response) => {
        void half(request, response).then(() => {
          closing = sources.close()
        })
      })
      const origin = sources.bind({ url: put('/closed'), headers: {} })
      await rejection(read(origin, 0), 'CLOSED')
      await closing
    })

    test('http.read() throws what the slot throws, and ends the connection', async (t) => {
      const { slot } = await scene(t)
      const full = new PeerError('NO_SPACE', 'The disk is full', {
        needed: 1,
        available: 0,
        path: '/',
      })
      let closed = 0
      world.server.on('/no-space', (request, response) => {
        request.socket.once('close', () => closed++)
        world.server.answer(request, response)
      })
      const inner = await slot(0)
      const failing = filledBy(inner, async () => Promise.reject(full))
      const access = { origin: world.bind(put('/no-space')), shownUrl: '', validator: undefined }
      await assert.rejects(
        readPiece(access, inner.piece, failing, never),
        (error) => error === full,
      )
      inner.release()
      await gate(() => closed === 1)
    })

    test('http.read() takes no more than the piece from an origin that sends all it has', async (t) => {
      const { read } = await scene(t)
      const origin = watched(world.bind(put('/whole', { ranges: false })))
      await read(origin, 0)
      const error = await rejection(read(origin, 1), 'ORIGIN_PROTOCOL')
      assert.equal(error.details.actual, 'status 200')
    })

    test('http.read() believes no length that the body does not have', async (t) => {
      const { read } = await scene(t)
      const short = await rawServer(t, (socket, [first, last]) => {
        socket.write(head(first, last - first + 1))
        socket.end(content.bytes(first, Math.max(0, 3 * MiB - first)))
      })
      const origin = bound(t, short.url, { retriesMax: 1 })
      const error = await rejection(read(watched(origin), 0), 'ORIGIN_UNREACHABLE')
      assert.equal(error.details.attempts, 2)
    })

    test('http.read() uses no connection again on which more came than the body', async (t) => {
      const { read } = await scene(t)
      const surplus = await rawServer(t, (socket, [first, last]) => {
        socket.write(head(first, last - first + 1))
        socket.write(content.bytes(first, last - first + 1))
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlie!')
      })
      const origin = bound(t, surplus.url, {})
      await read(watched(origin), 0)
      await read(watched(origin), 1)
      assert.equal(surplus.accepted(), 2)
    })

    test('http.read() takes nothing for an answer that came behind the body before, however soon it asks again', async (t) => {
      const { task, read } = await scene(t)
      const { geometry } = task
      const surplus = await rawServer(t, (socket, [first, last]) => {
        socket.write(head(first, last - first + 1))
        socket.write(content.bytes(first, last - first + 1))
        const { offset, length } = pieceAt(geometry, Math.floor((last + 1) / geometry.pieceLength))
        socket.write(head(offset, length) + 'x'.repeat(length))
      })
      for (const connectionsPerOrigin of [1, 8]) {
        const origin = bound(t, surplus.url, { connectionsPerOrigin })
        const reading: Promise<void>[] = []
        for (let number = 0; number < geometry.pieceCount - 1; number++) {
          reading.push(read(origin, number))
          // With many connections the next one is asked for when this one has just been read.
          if (connectionsPerOrigin > 1) await reading.at(-1)
        }
        await Promise.all(reading)
      }
    })

    test('http.read() uses no connection again on which more came while the body was being read', async (t) => {
      let closed = 0
      let goOn = (): void => undefined
      const surplus = await rawServer(t, (socket, [first, last]) => {
        socket.once('close', () => closed++)
        socket.setNoDelay()
        socket.write(head(first, last - first + 1))
        socket.write(content.bytes(first, 1000))
        goOn = () =>
          void inTurns(socket, [
            content.bytes(first + 1000, 1000),
            content.bytes(first + 2000, 1000),
            'more than that',
          ])
      })
      const origin = bound(t, surplus.url, {})
      for (const offset of [0, 3000]) {
        const chunks: Uint8Array[] = []
        for await (const chunk of origin.read({ offset, length: 3000 }, never)) {
          chunks.push(Uint8Array.from(chunk))
          goOn()
          goOn = () => undefined
          await gate(() => closed === surplus.accepted())
        }
        assert.equal(content.difference(Buffer.concat(chunks), offset), undefined)
      }
      assert.equal(surplus.accepted(), 2)
    })

    test('http.read() fills slots with what was sent, however it comes', async (t) => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.integer({ min: 1, max: 1_500_000 }), { maxLength: 12 }),
          fc.array(fc.integer({ min: 0, max: 4 * MiB }), { maxLength: 3 }),
          async (parts, breaks) => {
            const { task, read, end } = await scene(t)
            const pending = [...breaks]
            world.server.on('/parts', (request, response) => {
              void inParts(request, response, parts, pending.shift())
            })
            const origin = world.bind(put('/parts'))
            const { pieceCount } = task.geometry
            await Promise.all(
              Array.from({ length: pieceCount }, async (_, number) =>
                read(watched(origin), number),
              ),
            )
            await end()
          },
        ),
        { numRuns: 15 },
      )
    })
  })
}

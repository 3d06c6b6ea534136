import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { describe, test } from 'node:test'
import { httpWorld } from './http-world.ts'
import { fixed } from './range-server.ts'
import { readAll, rejection } from './reading.ts'

describe('http.read(): answers', () => {
  const world = httpWorld()
  const { content } = world
  const ranges = (): (string | undefined)[] => world.server.seen.map(({ headers }) => headers.range)

  test('http.read() asks for exactly the part and names the version that it wants', async () => {
    const origin = world.bind(world.server.put('/part', { bytes: content, etag: '"a"' }))
    const part = { offset: 10, length: 90, validator: 'etag:"a"' }
    assert.deepEqual(await readAll(origin, part), content.slice(10, 100))
    assert.deepEqual(await readAll(origin, { offset: 299_990 }), content.slice(299_990))
    assert.equal((await readAll(origin)).length, content.length)
    assert.deepEqual(ranges(), ['bytes=10-99', 'bytes=299990-', undefined])
    assert.deepEqual(
      world.server.seen.map(({ headers }) => headers['if-match']),
      ['"a"', undefined, undefined],
    )
  })

  test('http.read() uses a connection again, also when the consumer leaves with the last byte', async () => {
    // Written by hand, so that the last bytes fill a whole read of the client: there its parser stops before the end of the message.
    const head = (length: number): string =>
      `HTTP/1.1 206 Partial Content\r\ncontent-length: ${length}\r\ncontent-range: bytes 0-${length - 1}/300000\r\n\r\n`
    const length = 3 * 65_536 - head(196_608).length
    let accepted = 0
    const raw = createServer((socket) => {
      accepted++
      socket.on('data', () => socket.write(Buffer.from(head(length) + 'x'.repeat(length))))
      socket.on('error', () => undefined)
    }).listen(0, '127.0.0.1')
    await once(raw, 'listening')
    const origin = world.bind(`http://127.0.0.1:${(raw.address() as AddressInfo).port}/`)
    for (let turn = 0; turn < 20; turn++) {
      let got = 0
      for await (const chunk of origin.read({ offset: 0, length }, new AbortController().signal)) {
        got += chunk.length
        if (got === length) break
      }
    }
    // The pool takes a second one while the first settles after an answer.
    assert.ok(accepted <= 2, `${accepted} connections`)
    await world.sources.close()
    raw.close()
    await once(raw, 'close')
  })

  const wrong: [what: string, RequestListener, actual: string | RegExp][] = [
    [
      'another start',
      fixed(206, { 'content-range': 'bytes 11-99/300000' }, content.subarray(11, 100)),
      'content-range bytes 11-99/300000',
    ],
    [
      'another end',
      fixed(206, { 'content-range': 'bytes 10-98/300000' }, content.subarray(10, 99)),
      'content-range bytes 10-98/300000',
    ],
    ['no range', fixed(206, {}, content.subarray(10, 100)), 'no single content-range'],
    [
      'another length than its range',
      fixed(
        206,
        { 'content-range': 'bytes 10-99/300000', 'content-length': 91 },
        content.subarray(10, 101),
      ),
      'content-length 91',
    ],
    [
      'more bytes than its range',
      (_, response) => {
        response.writeHead(206, { 'content-range': 'bytes 10-99/300000' })
        response.write(content.subarray(10, 50))
        response.end(content.subarray(50, 200))
      },
      'more bytes than that',
    ],
    ['everything instead of a later part', fixed(200, {}, content), 'status 200'],
    [
      'an unsatisfiable range',
      fixed(416, { 'content-range': 'bytes */50' }),
      'status 416, 50 bytes in all',
    ],
    ['a failed condition that was not set', fixed(412, {}), 'status 412'],
    [
      'a coding',
      fixed(
        206,
        { 'content-encoding': 'gzip', 'content-range': 'bytes 10-99/300000' },
        content.subarray(10, 100),
      ),
      'content-encoding gzip',
    ],
  ]
  for (const [at, [what, handler, actual]] of wrong.entries()) {
    test(`http.read() fails with ORIGIN_PROTOCOL for ${what}`, async () => {
      const origin = world.bind(world.server.on(`/wrong${at}`, handler))
      const error = await rejection(readAll(origin, { offset: 10, length: 90 }), 'ORIGIN_PROTOCOL')
      assert.equal(error.details.actual, actual)
      assert.equal(world.server.seen.length, 1)
    })
  }

  test('http.read() takes everything instead of a part from the start, and delivers no surplus', async () => {
    const origin = world.bind(world.server.put('/whole', { bytes: content, ranges: false }))
    assert.deepEqual(await readAll(origin, { offset: 0, length: 100 }), content.slice(0, 100))
    const error = await rejection(
      readAll(origin, { offset: 0, length: 300_001 }),
      'ORIGIN_PROTOCOL',
    )
    assert.equal(error.details.actual, 'content-length 300000')
  })

  test('http.read() takes chunked content to its end, and misses what a part of it should have', async () => {
    const origin = world.bind(
      world.server.on('/chunked', (_, response) => {
        response.write(content.subarray(0, 1000))
        response.end(content.subarray(1000, 5000))
      }),
    )
    assert.deepEqual(await readAll(origin), content.slice(0, 5000))
    assert.deepEqual(await readAll(origin, { offset: 0, length: 4000 }), content.slice(0, 4000))
    const error = await rejection(readAll(origin, { offset: 0, length: 5001 }), 'ORIGIN_PROTOCOL')
    assert.deepEqual([error.details.expected, error.details.actual], ['5001 bytes', '5000 bytes'])
  })

  test('http.read() takes content that ends with its connection', async () => {
    const url = world.server.on('/closing', (request) => {
      request.socket.end(Buffer.concat([Buffer.from('HTTP/1.0 200 OK\r\n\r\n'), content]))
    })
    assert.deepEqual(await readAll(world.bind(url)), content)
  })

  test('http.read() compares by itself when the origin does not heed the condition', async () => {
    const range = 'bytes 0-9/300000'
    const url = world.server.on(
      '/heedless',
      fixed(206, { etag: '"b"', 'content-range': range }, content.subarray(0, 10)),
    )
    const part = { offset: 0, length: 10 }
    await rejection(readAll(world.bind(url), { ...part, validator: 'etag:"a"' }), 'ORIGIN_CHANGED')
    await rejection(
      readAll(world.bind(url), { ...part, validator: 'of another make' }),
      'ORIGIN_CHANGED',
    )
    assert.equal((await readAll(world.bind(url), { ...part, validator: 'etag:W/"b"' })).length, 10)
    // RFC 9110 13.1.1: If-Match compares strongly, so a weak tag would never match.
    assert.deepEqual(
      world.server.seen.map(({ headers }) => headers['if-match']),
      ['"a"', undefined, undefined],
    )
  })
})

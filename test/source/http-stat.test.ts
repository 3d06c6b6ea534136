import assert from 'node:assert/strict'
import type { RequestListener, ServerResponse } from 'node:http'
import { after, before, describe, test } from 'node:test'
import type { ErrorCode } from '../../src/errors.ts'
import { http } from '../../src/source/http.ts'
import { Sources } from '../../src/source/sources.ts'
import type { OriginStat } from '../../src/task/ports.ts'
import { RangeServer } from './range-server.ts'
import { rejection } from './reading.ts'
import { VirtualClock } from './virtual-clock.ts'

describe('http.stat()', () => {
  let server: RangeServer
  const sources = new Sources([http({ clock: new VirtualClock() })])

  before(async () => {
    server = await RangeServer.start()
  })

  after(async () => {
    await sources.close()
    await server[Symbol.asyncDispose]()
  })

  const stat = (url: string, headers: Readonly<Record<string, string>> = {}): Promise<OriginStat> =>
    sources.bind({ url, headers }).stat(new AbortController().signal)

  /** Answers every request the same. */
  const fixed =
    (status: number, fields: Record<string, string | string[]>, body = ''): RequestListener =>
    (_, response) => {
      response.writeHead(status, fields).end(body)
    }

  test('http.stat() asks with GET for the first byte, uncoded, by our name', async () => {
    let method: string | undefined
    const url = server.on('/asks', (request, response) => {
      method = request.method
      response.writeHead(206, { 'content-range': 'bytes 0-0/9' }).end('x')
    })
    await stat(url, { Range: 'bytes=3-4', 'If-None-Match': '"x"', 'Accept-Encoding': 'br' })
    const { headers } = server.seen.at(-1) ?? assert.fail('no request')
    assert.equal(method, 'GET')
    assert.equal(headers.range, 'bytes=0-0')
    assert.equal(headers['accept-encoding'], 'identity')
    assert.equal(headers['if-none-match'], undefined)
    assert.match(headers['user-agent'] ?? '', /^dragonfly-peer\/\d+\.\d+\.\d+$/)
  })

  test('http.stat() lets the user name the agent, and turns user info into basic authentication', async () => {
    const url = server.on('/auth', fixed(206, { 'content-range': 'bytes 0-0/9' }, 'x'))
    await stat(url.replace('http://', 'http://us%65r:p%3Aw@'), { 'User-Agent': 'mine' })
    const { headers } = server.seen.at(-1) ?? assert.fail('no request')
    assert.equal(headers['user-agent'], 'mine')
    assert.equal(headers.authorization, `Basic ${btoa('user:p:w')}`)
    await stat(url.replace('http://', 'http://user:pw@'), { Authorization: 'Bearer own' })
    assert.equal(server.seen.at(-1)?.headers.authorization, 'Bearer own')
  })

  const answers: [what: string, RequestListener, Omit<OriginStat, 'headers'>][] = [
    [
      'a part with its total',
      fixed(206, { 'content-range': 'bytes 0-0/1234', etag: '"a"' }, 'x'),
      { length: 1234, ranges: true, validator: 'etag:"a"' },
    ],
    [
      'a part of unknown total',
      fixed(206, { 'content-range': 'bytes 0-0/*', 'last-modified': 'then' }, 'x'),
      { ranges: true, validator: 'last-modified:then' },
    ],
    [
      'everything, with its length',
      fixed(200, { 'content-length': '4', 'last-modified': 'then', etag: 'W/"w"' }, 'four'),
      { length: 4, ranges: false, validator: 'last-modified:then;length=4' },
    ],
    [
      'everything, in chunks',
      fixed(200, { 'transfer-encoding': 'chunked' }, 'four'),
      { ranges: false },
    ],
    [
      'a weak tag only',
      fixed(200, { etag: 'W/"w"', 'content-length': '0' }),
      { length: 0, ranges: false, validator: 'etag:W/"w"' },
    ],
    [
      'two different tags',
      fixed(200, { etag: ['"a"', '"b"'], 'content-length': '0' }),
      { length: 0, ranges: false },
    ],
    [
      'identity as the coding',
      fixed(200, { 'content-encoding': 'identity', 'content-length': '1' }, 'x'),
      { length: 1, ranges: false },
    ],
  ]
  for (const [at, [what, handler, expected]] of answers.entries()) {
    test(`http.stat() reads ${what}`, async () => {
      const { headers, ...rest } = await stat(server.on(`/answer${at}`, handler))
      assert.deepEqual(rest, expected)
      assert.equal(
        headers['content-length'],
        expected.length === undefined ? undefined : `${expected.length}`,
      )
    })
  }

  const refusals: [what: string, RequestListener, ErrorCode, details: object][] = [
    ...[404, 410].map((status): [string, RequestListener, ErrorCode, object] => [
      `status ${status}`,
      fixed(status, {}, 'not content'),
      'ORIGIN_NOT_FOUND',
      { status },
    ]),
    ...[401, 403, 407].map((status): [string, RequestListener, ErrorCode, object] => [
      `status ${status}`,
      fixed(status, {}, 'not content'),
      'ORIGIN_FORBIDDEN',
      { status },
    ]),
    ...[408, 425, 429, 500, 502, 503, 504].map(
      (status): [string, RequestListener, ErrorCode, object] => [
        `status ${status}`,
        fixed(status, {}, 'not content'),
        'ORIGIN_UNAVAILABLE',
        { status, attempts: 5 },
      ],
    ),
    ...[501, 505, 511].map((status): [string, RequestListener, ErrorCode, object] => [
      `status ${status}`,
      fixed(status, {}, 'not content'),
      'ORIGIN_UNAVAILABLE',
      { status, attempts: 1 },
    ]),
    ...[201, 202, 204, 203, 300, 304, 400, 405, 412, 451].map(
      (status): [string, RequestListener, ErrorCode, object] => [
        `status ${status}`,
        fixed(status, {}),
        'ORIGIN_PROTOCOL',
        { actual: `status ${status}` },
      ],
    ),
    [
      'another range',
      fixed(206, { 'content-range': 'bytes 1-1/5' }, 'x'),
      'ORIGIN_PROTOCOL',
      { actual: 'content-range bytes 1-1/5' },
    ],
    [
      'a longer range',
      fixed(206, { 'content-range': 'bytes 0-4/5' }, 'xxxxx'),
      'ORIGIN_PROTOCOL',
      { actual: 'content-range bytes 0-4/5' },
    ],
    [
      'a range past its total',
      fixed(206, { 'content-range': 'bytes 0-0/0' }, 'x'),
      'ORIGIN_PROTOCOL',
      {},
    ],
    [
      'a total that is no number',
      fixed(206, { 'content-range': 'bytes 0-0/99999999999999999999' }, 'x'),
      'ORIGIN_PROTOCOL',
      {},
    ],
    ['no range', fixed(206, {}, 'x'), 'ORIGIN_PROTOCOL', { actual: 'no single content-range' }],
    [
      'several parts',
      fixed(206, { 'content-type': 'multipart/byteranges; boundary=b' }, 'x'),
      'ORIGIN_PROTOCOL',
      {},
    ],
    [
      'a coding',
      fixed(200, { 'content-encoding': 'gzip' }, 'x'),
      'ORIGIN_PROTOCOL',
      { actual: 'content-encoding gzip' },
    ],
    [
      'a coded part',
      fixed(206, { 'content-encoding': 'br', 'content-range': 'bytes 0-0/4' }, 'x'),
      'ORIGIN_PROTOCOL',
      { actual: 'content-encoding br' },
    ],
    [
      'something that is not HTTP',
      (request) => request.socket.end('SSH-2.0-x\r\n'),
      'ORIGIN_PROTOCOL',
      {},
    ],
    [
      'too long fields',
      fixed(200, { 'x-long': 'x'.repeat(40_000) }),
      'ORIGIN_PROTOCOL',
      { actual: 'HPE_HEADER_OVERFLOW' },
    ],
  ]
  for (const [at, [what, handler, code, details]] of refusals.entries()) {
    test(`http.stat() fails with ${code} for ${what}`, async () => {
      const url = server.on(`/refusal${at}?secret=1`, handler)
      const error = await rejection(stat(url), code)
      assert.deepEqual({ ...error.details, ...details }, error.details)
      assert.equal('url' in error.details && error.details.url, server.url(`/refusal${at}?secret`))
    })
  }

  test('http.stat() keeps the fields worth keeping and no others', async () => {
    const fields = {
      'content-type': 'text/plain',
      'content-disposition': 'attachment; filename=a',
      'docker-content-digest': 'sha256:00',
      etag: '"a"',
      'set-cookie': 'session=secret',
      'x-other': 'y',
      'cache-control': 'x'.repeat(5000),
    }
    const url = server.on(
      '/fields',
      fixed(206, { ...fields, 'content-range': 'bytes 0-0/77' }, 'x'),
    )
    assert.deepEqual((await stat(url)).headers, {
      'content-type': 'text/plain',
      'content-disposition': 'attachment; filename=a',
      'docker-content-digest': 'sha256:00',
      etag: '"a"',
      'content-length': '77',
    })
  })

  test('http.stat() asks an object without a first byte again for everything', async () => {
    const url = server.put('/empty', { bytes: new Uint8Array(), etag: '"none"' })
    const { headers, ...rest } = await stat(url)
    assert.deepEqual(rest, { length: 0, ranges: false, validator: 'etag:"none"' })
    assert.deepEqual(headers, { etag: '"none"', 'content-length': '0' })
    assert.deepEqual(
      server.seen.filter(({ path }) => path === '/empty').map((seen) => seen.headers.range),
      ['bytes=0-0', undefined],
    )
  })

  test('http.stat() gives up an object that has neither a first byte nor everything', async () => {
    const url = server.on('/odd', fixed(416, { 'content-range': 'bytes */0' }))
    await rejection(stat(url), 'ORIGIN_PROTOCOL')
  })

  test('http.stat() leaves a body that never ends after little of it', async () => {
    let sent = 0
    let dropped = (): void => undefined
    const gone = new Promise<void>((resolve) => (dropped = resolve))
    const url = server.on('/endless', (_, response: ServerResponse) => {
      response.on('close', dropped)
      response.writeHead(200)
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) sent += 65_536
      }
      response.on('drain', more)
      more()
    })
    const { length, ranges } = await stat(url)
    assert.deepEqual({ length, ranges }, { length: undefined, ranges: false })
    await gone
    // What lies in socket buffers was written, but not read.
    assert.ok(sent < 32 * 1024 * 1024, `${sent} bytes`)
  })
})

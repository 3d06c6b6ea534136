import assert from 'node:assert/strict'
import { Agent, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import test, { type TestContext } from 'node:test'
import { leaks } from './leaks.ts'
import { type Origin, type OriginAnswer, type OriginOptions, origin } from './origin.ts'
import { parseRange } from './origin-range.ts'
import { verifyBytes } from './verify.ts'

const length = 300_000

interface Got {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly bytes: Uint8Array
  /** Undefined: the answer was whole. */
  readonly error: NodeJS.ErrnoException | undefined
}

/** One request on a connection of its own. */
async function get(
  url: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<Got> {
  return await new Promise((resolve) => {
    const chunks: Buffer[] = []
    const outgoing = request(url, { headers, method, agent: new Agent() })
    let incoming: IncomingMessage | undefined
    const done = (error?: NodeJS.ErrnoException): void =>
      resolve({
        status: incoming?.statusCode ?? 0,
        headers: incoming?.headers ?? {},
        bytes: Buffer.concat(chunks),
        error,
      })
    outgoing.on('error', done)
    outgoing.on('response', (response) => {
      incoming = response
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => done())
      response.on('error', done)
    })
    outgoing.end()
  })
}

async function serve(t: TestContext, options: OriginOptions = {}): Promise<Origin> {
  leaks(t)
  return await origin(t, { length, ...options })
}

test('parseRange() reads one range and knows what a server ignores', () => {
  const table: readonly (readonly [string | undefined, unknown])[] = [
    ['bytes=0-0', { offset: 0, length: 1 }],
    ['bytes=5-9', { offset: 5, length: 5 }],
    ['bytes=5-', { offset: 5, length: 95 }],
    ['bytes=-7', { offset: 93, length: 7 }],
    ['bytes=-700', { offset: 0, length: 100 }],
    ['bytes=90-1000', { offset: 90, length: 10 }],
    ['bytes=100-', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=9-5', undefined],
    ['bytes=-', undefined],
    ['bytes=0-1,3-4', undefined],
    ['pages=0-1', undefined],
    [undefined, undefined],
  ]
  for (const [header, expected] of table) {
    assert.deepEqual(parseRange(header, 100), expected, String(header))
  }
})

test('origin() serves everything, a part, and the facts, and counts them', async (t) => {
  const served = await serve(t, { seed: 5 })
  const full = await get(served.url)
  assert.equal(full.status, 200)
  assert.equal(full.headers['content-length'], String(length))
  verifyBytes(full.bytes, served.content)
  const part = await get(served.urlOf('/other?x=1'), { range: 'bytes=100000-199999' })
  assert.equal(part.status, 206)
  assert.equal(part.headers['content-range'], `bytes 100000-199999/${length}`)
  assert.equal(part.bytes.length, 100_000)
  verifyBytes(part.bytes, served.content, 100_000)
  const stat = await get(served.url, {}, 'HEAD')
  assert.equal(stat.headers['content-length'], String(length))
  await get(served.url, { range: 'bytes=0-0' })
  assert.deepEqual(served.counts, {
    full: 1,
    ranged: 1,
    stats: 2,
    bytes: length + 100_000 + 1,
    connections: 4,
    atOnce: 1,
  })
  assert.equal(served.requests[1]?.url, '/other?x=1')
  assert.equal((await get(served.url, { range: `bytes=${length}-` })).status, 416)
  assert.equal((await get(served.url, {}, 'POST')).status, 405)
})

test('origin() without ranges answers a ranged GET with everything', async (t) => {
  const served = await serve(t, { ranges: false })
  const answer = await get(served.url, { range: 'bytes=10-19' })
  assert.equal(answer.status, 200)
  assert.equal(answer.headers['accept-ranges'], undefined)
  verifyBytes(answer.bytes, served.content)
})

test('origin() without a known length sends HTTP chunks', async (t) => {
  const served = await serve(t, { lengthKnown: false })
  const answer = await get(served.url)
  assert.equal(answer.headers['content-length'], undefined)
  assert.equal(answer.headers['transfer-encoding'], 'chunked')
  verifyBytes(answer.bytes, served.content)
  assert.equal((await get(served.url, {}, 'HEAD')).headers['content-length'], undefined)
})

test('Origin.change() changes bytes and validators, and breaks conditions on the old ones', async (t) => {
  const served = await serve(t)
  const before = await get(served.url, {}, 'HEAD')
  const { etag = '', 'last-modified': lastModified = '' } = before.headers
  const part = { range: 'bytes=0-9' }
  assert.equal((await get(served.url, { ...part, 'if-range': etag })).status, 206)
  assert.equal((await get(served.url, { ...part, 'if-range': lastModified })).status, 206)
  assert.equal((await get(served.url, { 'if-none-match': etag })).status, 304)
  served.change({ length: 1000 })
  assert.equal((await get(served.url, { ...part, 'if-range': etag })).status, 200)
  assert.equal((await get(served.url, { ...part, 'if-range': lastModified })).status, 200)
  assert.equal((await get(served.url, { 'if-match': etag })).status, 412)
  const after = await get(served.url, { 'if-none-match': etag })
  assert.equal(after.bytes.length, 1000)
  verifyBytes(after.bytes, served.content)
  assert.notEqual(after.headers['last-modified'], lastModified)
})

test('origin() can hide its validators and refuse HEAD', async (t) => {
  const served = await serve(t, { etag: false, lastModified: false, head: false })
  const answer = await get(served.url)
  assert.equal(answer.headers.etag, undefined)
  assert.equal(answer.headers['last-modified'], undefined)
  assert.equal((await get(served.url, {}, 'HEAD')).status, 405)
})

test('origin() misbehaves by script', async (t) => {
  const script: OriginAnswer[] = [
    { is: 'status', status: 503, headers: { 'retry-after': '1' } },
    { is: 'reset' },
    { is: 'reset', afterBytes: 1000 },
    { is: 'end', afterBytes: 1000 },
    { is: 'headers', headers: { 'content-range': 'bytes 1-2/3' } },
    { is: 'corrupt', at: 150_000 },
  ]
  const served = await serve(t, { answer: ({ number }) => script[number] })
  const unavailable = await get(served.url)
  assert.equal(unavailable.status, 503)
  assert.equal(unavailable.headers['retry-after'], '1')
  const early = await get(served.url)
  assert.deepEqual([early.status, early.error?.code], [0, 'ECONNRESET'])
  const late = await get(served.url)
  assert.deepEqual([late.status, late.error?.code], [200, 'ECONNRESET'])
  assert.ok(late.bytes.length <= 1000)
  const short = await get(served.url)
  assert.equal(short.bytes.length, 1000)
  assert.notEqual(short.error, undefined)
  const lying = await get(served.url, { range: 'bytes=0-9' })
  assert.equal(lying.headers['content-range'], 'bytes 1-2/3')
  const corrupt = await get(served.url, { range: 'bytes=100000-' })
  assert.equal(served.content.difference(corrupt.bytes, 100_000), 150_000)
  assert.equal(corrupt.bytes.length, 200_000)
  verifyBytes((await get(served.url)).bytes, served.content)
  await served.until(({ requests }) => requests.every(({ state }) => state !== 'open'))
  assert.deepEqual(
    served.requests.map(({ state }) => state),
    ['whole', 'broken', 'broken', 'broken', 'whole', 'whole', 'whole'],
  )
})

test('origin() stalls until the reader goes', async (t) => {
  const served = await serve(t, {
    answer: ({ number }) => ({ is: 'stall', ...(number === 0 ? {} : { afterBytes: 5000 }) }),
  })
  for (const wanted of [0, 5000]) {
    let received = 0
    const outgoing = request(served.url, { agent: new Agent() })
    outgoing.on('error', () => undefined)
    outgoing.on('response', (response) => {
      response.on('error', () => undefined)
      response.on('data', (chunk: Buffer) => {
        received += chunk.length
        if (received === 5000) outgoing.destroy()
      })
    })
    outgoing.end()
    await served.until(({ requests }) => requests.at(-1)?.bytes === wanted && requests.length > 0)
    if (wanted === 0) outgoing.destroy()
    await served.until(({ requests }) => requests.at(-1)?.state === 'broken')
    assert.equal(received, wanted)
  }
})

test('origin() waits for a script that waits, and counts what is open at once', async (t) => {
  let open = (): void => undefined
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  const served = await serve(t, {
    answer: async () => {
      await gate
      return undefined
    },
  })
  const answers = [get(served.url), get(served.url), get(served.url)]
  await served.until(({ requests }) => requests.length === 3)
  assert.equal(served.counts.bytes, 0)
  open()
  for (const { bytes } of await Promise.all(answers)) verifyBytes(bytes, served.content)
  assert.equal(served.counts.atOnce, 3)
})

test('origin() keeps the pace', async (t) => {
  const served = await serve(t, { length: 40_000, bytesPerSecond: 200_000 })
  const start = performance.now()
  verifyBytes((await get(served.url)).bytes, served.content)
  const tookMs = performance.now() - start
  assert.ok(tookMs >= 150, `40 kB at 200 kB/s took ${tookMs} ms`)
})

test('origin() holds little of a long answer when the reader is slow', async (t) => {
  const served = await serve(t, { length: 2 ** 40 })
  const outgoing = request(served.url, { agent: new Agent() })
  outgoing.on('error', () => undefined)
  const response = await new Promise<IncomingMessage>((resolve) => {
    outgoing.on('response', resolve).end()
  })
  response.on('error', () => undefined)
  await served.until(({ counts }) => counts.bytes > 0)
  // Nobody reads: the socket buffers fill, and then the origin has to stop by itself.
  let last = -1
  while (last !== served.counts.bytes) {
    last = served.counts.bytes
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve))
  }
  assert.ok(served.counts.bytes < 64 * 1024 * 1024, `${served.counts.bytes} bytes were sent`)
  outgoing.destroy()
  await served.until(({ requests }) => requests[0]?.state === 'broken')
})

test('origin() answers requests that wait behind others in turn, until the reader goes', async (t) => {
  const served = await serve(t, {
    bytesPerSecond: 50_000,
    answer: ({ number }) => (number === 2 ? { is: 'stall', afterBytes: 5 } : undefined),
  })
  const socket = connect(served.port, '127.0.0.1')
  t.after(() => void socket.destroy())
  const ask = (range: string): string =>
    `GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=${range}\r\n\r\n`
  socket.resume()
  // The second request waits behind the first, the third behind both.
  socket.write(ask('0-1499') + ask('0-9') + ask('0-1999'))
  await served.until(({ requests }) => requests[1]?.state === 'whole')
  socket.destroy()
  await served.until(({ requests }) => requests[2]?.state === 'broken')
  assert.deepEqual(
    served.requests.map(({ state }) => state),
    ['whole', 'whole', 'broken'],
  )
})

test('origin() notices that a reader goes whose request waits behind another', async (t) => {
  const served = await serve(t, { answer: ({ number }) => ({ is: 'stall', afterBytes: number }) })
  const socket = connect(served.port, '127.0.0.1')
  t.after(() => void socket.destroy())
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(2))
  await served.until(({ requests }) => requests[1]?.bytes === 1)
  socket.destroy()
  await served.until(({ requests }) => requests.every(({ state }) => state === 'broken'))
})

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { file } from '../../src/source/file.ts'
import { http } from '../../src/source/http.ts'
import type { Source } from '../../src/source/source.ts'
import { Sources } from '../../src/source/sources.ts'
import { makeCertificates } from './certificates.ts'
import { RangeServer } from './range-server.ts'
import { readAll } from './reading.ts'
import { VirtualClock } from './virtual-clock.ts'

const secret = 'Hidd3n'
const headers = {
  authorization: `Bearer ${secret}-bearer`,
  cookie: `session=${secret}`,
  'x-token': `${secret}-token`,
}

/** All that can be read out of an error by the usual ways, with its whole chain of causes. */
function everything(error: unknown): string {
  const parts: string[] = [inspect(error, { depth: Infinity, showHidden: true, getters: true })]
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const own: Record<string, unknown> = {}
    for (const key of Reflect.ownKeys(at)) own[String(key)] = Reflect.get(at, key)
    parts.push(JSON.stringify(at), JSON.stringify(own), String(at), at.stack ?? '')
  }
  return parts.join('\n')
}

test('No error of http tells a secret of the request or of the answer', async () => {
  const { server: pair } = await makeCertificates()
  await using server = await RangeServer.start()
  await using secure = await RangeServer.start(pair)
  const sources = new Sources([
    http({ clock: new VirtualClock(), retriesMax: 1, headersTimeoutMs: 30 }),
  ])
  const query = `?signature=${secret}&${secret}&a=b%20${secret}`
  const answers: Record<string, (socket: Socket) => void> = {
    status: (socket) =>
      socket.end(`HTTP/1.1 403 ${secret}\r\nSet-Cookie: ${secret}\r\n\r\n${secret}`),
    unavailable: (socket) =>
      socket.end(`HTTP/1.1 503 ${secret}\r\ncontent-length: 6\r\n\r\n${secret}`),
    garbage: (socket) =>
      socket.end(`HTTP/1.1 200 OK\r\nset-cookie: ${secret}\r\nbad header ${secret}\r\n\r\n`),
    notHttp: (socket) => socket.end(`${secret}\r\n${secret}\r\n`),
    cut: (socket) => socket.end(`HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n${secret}`),
    cutChunked: (socket) =>
      socket.end(
        `HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n99\r\n${secret}`,
      ),
    reset: (socket) => socket.resetAndDestroy(),
    silent: () => undefined,
    elsewhere: (socket) =>
      socket.end(`HTTP/1.1 302 Found\r\nlocation: ftp://${secret}@host/?${secret}\r\n\r\n`),
    nowhere: (socket) => socket.end(`HTTP/1.1 302 Found\r\nlocation: http://[${secret}\r\n\r\n`),
    refusing: (socket) =>
      socket.end(`HTTP/1.1 302 Found\r\nlocation: http://${secret}@127.0.0.1:1/?${secret}\r\n\r\n`),
  }
  const urls = Object.entries(answers).map(([name, handle]) =>
    server.on(`/${name}${query}`, (request) => handle(request.socket)),
  )
  urls.push(
    secure.url(`/${query}`),
    `http://nothing.invalid/${query}`,
    `http://127.0.0.1:1/${query}`,
  )
  const results = await Promise.all(
    urls.map(async (url) => {
      const withUser = url.replace('://', `://${secret}:${secret}@`)
      const origin = sources.bind({ url: withUser, headers })
      const failures = await Promise.allSettled([
        readAll(origin, { offset: 0, length: 50, validator: 'etag:"a"' }),
        origin.stat(new AbortController().signal),
      ])
      return { url, failures }
    }),
  )
  const encoded = Buffer.from(`${secret}:${secret}`).toString('base64')
  for (const { url, failures } of results) {
    // A cut body is no failure for stat(), which does not read it.
    assert.ok(failures[0].status === 'rejected', url)
    for (const failure of failures) {
      if (failure.status === 'fulfilled') continue
      const told = everything(failure.reason)
      assert.ok(!told.includes(secret) && !told.includes(encoded), told)
    }
  }
  await sources.close()
})

test('No error of Sources or file tells a secret', async () => {
  const careless: Source = {
    scheme: 'careless',
    stat: async ({ url }) => {
      throw new TypeError(`cannot reach ${url.href} as ${url.password} with ${headers['x-token']}`)
    },
    async *read({ url, headers: given }) {
      throw new Error(`${given['authorization']?.split(' ')[1]} ${url.searchParams.get('a')}`)
    },
  }
  const sources = new Sources([careless, file()])
  const signal = new AbortController().signal
  const careful = sources.bind({ url: `careless://u:${secret}-pw@h/p?a=${secret}%20x`, headers })
  const errors: unknown[] = []
  const note = (error: unknown): void => {
    errors.push(error)
  }
  await careful.stat(signal).catch(note)
  await readAll(careful).catch(note)
  for (const failing of [`file://host/x?${secret}`, `file:///nothing-here?x=${secret}`]) {
    await sources.bind({ url: failing, headers }).stat(signal).catch(note)
  }
  for (const url of [
    `http://[${secret}`,
    `file://${secret}@host/`,
    secret,
    `nothing://u:${secret}@h/?a=${secret}`,
  ]) {
    try {
      sources.bind({ url, headers })
    } catch (error) {
      note(error)
    }
  }
  assert.throws(
    () => sources.bind({ url: 'file:///a', headers: { 'x-token': `${secret}\n` } }),
    (error) => !everything(error).includes(secret),
  )
  assert.equal(errors.length, 8)
  for (const error of errors) {
    // The cause is what the user's own source threw; it is theirs, and kept as it is.
    if (error instanceof Error && error.message.includes('careless')) delete error.cause
    assert.ok(!everything(error).includes(secret), everything(error))
  }
})

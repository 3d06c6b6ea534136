import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type HttpOptions, http } from '../../src/source/http.ts'
import { Sources } from '../../src/source/sources.ts'
import { leaks } from '../support/leaks.ts'
import { gate } from './gate.ts'
import { readAll, rejection } from './reading.ts'
import { VirtualClock } from './virtual-clock.ts'

/** What a server sends for a request, byte for byte; `connection` counts from 1. */
type Script = (socket: Socket, request: string, connection: number) => void

/** Answers each request by a script. */
class ScriptedServer implements AsyncDisposable {
  connections = 0
  readonly sockets: Set<Socket> = new Set()
  readonly #server: Server

  constructor(script: Script) {
    this.#server = createServer((socket) => {
      const number = ++this.connections
      this.sockets.add(socket)
      let text = ''
      socket.on('error', () => undefined)
      socket.on('close', () => this.sockets.delete(socket))
      socket.on('data', (bytes) => {
        text += bytes.toString('latin1')
        for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
          const request = text.slice(0, end)
          text = text.slice(end + 4)
          script(socket, request, number)
        }
      })
    })
  }

  async url(): Promise<string> {
    if (!this.#server.listening) await once(this.#server.listen(0, '127.0.0.1'), 'listening')
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

const ok = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfour'

/** Reads everything by a source of its own, which tries once unless told otherwise. */
async function got(url: string, options: HttpOptions = {}): Promise<string> {
  const sources = new Sources([http({ clock: new VirtualClock(), retriesMax: 0, ...options })])
  try {
    return Buffer.from(await readAll(sources.bind({ url, headers: {} }))).toString()
  } finally {
    await sources.close()
  }
}

describe('http on the wire', () => {
  leaks({ after })

  const whole: [what: string, answer: string, content: string][] = [
    [
      'after interim answers',
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n${ok}`,
      'four',
    ],
    ['with bytes behind it', `${ok}surplus`, 'four'],
    ['with another answer behind it', ok + ok, 'four'],
    [
      'in chunks with extensions and trailers',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\nfo\r\n2\r\nur\r\n0\r\nx: y\r\n\r\n',
      'four',
    ],
    ['of no bytes', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', ''],
  ]
  for (const [what, answer, content] of whole) {
    test(`http.read() takes content ${what}`, async () => {
      await using server = new ScriptedServer((socket) => socket.write(answer))
      assert.equal(await got(await server.url()), content)
    })
  }

  const filler = Array.from({ length: 3000 }, () => 'a:\r\n').join('')
  const broken: [
    what: string,
    answer: string,
    code: 'ORIGIN_PROTOCOL' | 'ORIGIN_UNREACHABLE',
    told: string,
  ][] = [
    [
      'both lengths and chunks',
      'HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n',
      'ORIGIN_PROTOCOL',
      '^HPE_',
    ],
    [
      'two lengths',
      'HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nfour',
      'ORIGIN_PROTOCOL',
      '^HPE_',
    ],
    [
      'a length that is none',
      'HTTP/1.1 200 OK\r\ncontent-length: 4x\r\n\r\nfour',
      'ORIGIN_PROTOCOL',
      '^HPE_',
    ],
    [
      'a bare line feed',
      'HTTP/1.1 200 OK\ncontent-length: 4\r\n\r\nfour',
      'ORIGIN_PROTOCOL',
      '^HPE_',
    ],
    [
      'a chunk that is none',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n',
      'ORIGIN_PROTOCOL',
      '^HPE_',
    ],
    [
      'a space before the colon',
      'HTTP/1.1 200 OK\r\ncontent-length : 4\r\n\r\nfour',
      'ORIGIN_PROTOCOL',
      '^HPE_',
    ],
    [
      'another coding hidden behind thousands of fields',
      `HTTP/1.1 200 OK\r\n${filler}content-encoding: gzip\r\ncontent-length: 4\r\n\r\nfour`,
      'ORIGIN_PROTOCOL',
      '^content-encoding gzip',
    ],
    [
      'another protocol',
      'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n',
      'ORIGIN_UNREACHABLE',
      '^connection closed$',
    ],
  ]
  for (const [what, answer, code, told] of broken) {
    test(`http.read() fails with ${code} for ${what}`, async () => {
      await using server = new ScriptedServer((socket) => socket.write(answer))
      const { details } = await rejection(got(await server.url()), code)
      assert.match('actual' in details ? details.actual : details.reason, new RegExp(told))
    })
  }

  for (const [what, answer] of [
    ['before its status', ''],
    ['within its fields', 'HTTP/1.1 200 OK\r\ncontent-'],
    ['within its body', ok.slice(0, -1)],
    ['within its chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfo'],
    ['before the last chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n'],
  ] as const) {
    test(`http.read() takes an answer that ends ${what} for a broken connection`, async () => {
      await using server = new ScriptedServer((socket) => socket.end(answer))
      const { details } = await rejection(got(await server.url()), 'ORIGIN_UNREACHABLE')
      assert.equal(details.reason, 'connection closed')
    })
  }

  test('http.read() asks again over another connection when the origin has closed the one that was kept', async () => {
    let asked = 0
    await using server = new ScriptedServer((socket, _, connection) => {
      asked++
      // Each connection lives for one answer, and says nothing of it.
      if (asked > 1 && connection === 1) socket.resetAndDestroy()
      else socket.write(ok)
    })
    const sources = new Sources([http({ retriesMax: 0 })])
    const origin = sources.bind({ url: await server.url(), headers: {} })
    for (let at = 0; at < 2; at++) assert.equal((await readAll(origin)).length, 4)
    assert.deepEqual([asked, server.connections], [3, 2])
    await sources.close()
  })

  test('http.read() asks again over a new connection when it got the end of another answer, and uses none that was kept', async () => {
    const asked: number[] = []
    const waiting: Socket[] = []
    await using server = new ScriptedServer((socket, _, connection) => {
      asked.push(connection)
      if (asked.length <= 2) waiting.push(socket)
      // Two connections are kept. Each answer is longer than it says, which comes out when the next one is due.
      if (asked.length === 2) for (const each of waiting) each.write(ok)
      if (asked.length > 2) socket.write(connection <= 2 ? `surplus${ok}` : ok)
    })
    const sources = new Sources([http({ retriesMax: 0, keepAliveMs: 3_600_000 })])
    const origin = sources.bind({ url: await server.url(), headers: {} })
    await Promise.all([readAll(origin), readAll(origin)])
    assert.equal(Buffer.from(await readAll(origin)).toString(), 'four')
    assert.equal(asked.length, 4)
    assert.equal(asked.at(-1), 3)
    await gate(() => server.sockets.size === 1)
    await sources.close()
  })

  test('http.read() ends with ORIGIN_PROTOCOL when no connection has an answer', async () => {
    let asked = 0
    await using server = new ScriptedServer((socket) => {
      asked++
      socket.write(asked === 1 ? ok : `surplus${ok}`)
    })
    const sources = new Sources([http({ clock: new VirtualClock() })])
    const origin = sources.bind({ url: await server.url(), headers: {} })
    await readAll(origin)
    const { details } = await rejection(readAll(origin), 'ORIGIN_PROTOCOL')
    assert.match(details.actual, /^HPE_/)
    // Over the one that was kept, and over a new one.
    assert.deepEqual([asked, server.connections], [3, 2])
    await sources.close()
  })

  test('http.read() takes no answer that nobody had asked for', async () => {
    await using server = new ScriptedServer((socket, _, connection) => {
      socket.write(connection === 1 ? ok : ok.replace('four', 'good'))
    })
    const sources = new Sources([http({ retriesMax: 0, keepAliveMs: 3_600_000 })])
    const origin = sources.bind({ url: await server.url(), headers: {} })
    await readAll(origin)
    const [first] = server.sockets
    first?.write(ok.replace('four', 'evil'))
    await gate(() => server.sockets.size === 0)
    assert.equal(Buffer.from(await readAll(origin)).toString(), 'good')
    await sources.close()
  })

  test('http.read() uses one connection for many reads one after another, and leaves nothing on it or on its signal', async () => {
    await using server = new ScriptedServer((socket) => socket.write(ok))
    const sources = new Sources([http({ retriesMax: 0, keepAliveMs: 500 })])
    const origin = sources.bind({ url: await server.url(), headers: {} })
    const warnings: Error[] = []
    const onWarning = (warning: Error): void => void warnings.push(warning)
    process.on('warning', onWarning)
    const { signal } = new AbortController()
    for (let at = 0; at < 30; at++) await readAll(origin, { offset: 0, length: 4 }, signal)
    assert.equal(server.connections, 1)
    // It is closed when it has not been used for a while.
    await gate(() => server.sockets.size === 0)
    process.off('warning', onWarning)
    assert.deepEqual(warnings, [])
    await sources.close()
  })

  test('http.read() that is left early frees its connection when everything has come', async () => {
    const chunks = Array.from({ length: 50 }, () => '1\r\nx\r\n').join('')
    await using server = new ScriptedServer((socket) =>
      socket.write(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`),
    )
    const sources = new Sources([http({ retriesMax: 0, connectionsPerOrigin: 1 })])
    const origin = sources.bind({ url: await server.url(), headers: {} })
    for (let length = 1; length < 5; length++) {
      assert.equal((await readAll(origin, { offset: 0, length })).length, length)
    }
    assert.equal(server.connections, 1)
    await sources.close()
  })

  test('http.read() keeps a connection in use for longer than one that is not', async () => {
    await using server = new ScriptedServer((socket) => {
      const begun = performance.now()
      const later = (): void => {
        if (performance.now() - begun > 60) socket.write(ok)
        else setImmediate(later)
      }
      later()
    })
    assert.equal(await got(await server.url(), { keepAliveMs: 10 }), 'four')
  })

  test('http.read() that is cancelled while it waits for a connection never asks, nor does one in the turn in which it begins', async () => {
    const asked: string[] = []
    let answerFirst = (): void => undefined
    await using server = new ScriptedServer((socket, request) => {
      asked.push(/range: (.*)/i.exec(request)?.[1] ?? '')
      if (asked.length > 1) socket.write(ok)
      else answerFirst = () => void socket.write(ok)
    })
    const sources = new Sources([http({ retriesMax: 0, connectionsPerOrigin: 1 })])
    const origin = sources.bind({ url: await server.url(), headers: {} })
    const read = (offset: number, signal: AbortSignal): Promise<Uint8Array> =>
      readAll(origin, { offset, length: 4 }, signal)
    const first = read(0, new AbortController().signal)
    await gate(() => asked.length === 1)
    const controller = new AbortController()
    const second = read(0, controller.signal)
    const third = read(0, new AbortController().signal)
    const reason = new Error('enough')
    controller.abort(reason)
    await assert.rejects(second, (error) => error === reason)
    answerFirst()
    assert.deepEqual([(await first).length, (await third).length], [4, 4])
    assert.equal(asked.length, 2)
    await gate(() => server.sockets.size === 1)
    await sources.close()

    const other = new Sources([http({ retriesMax: 0, keepAliveMs: 3_600_000 })])
    const url = await server.url()
    for (let turns = 0; turns < 12; turns++) {
      const early = new AbortController()
      const begun = readAll(other.bind({ url, headers: {} }), { offset: 0 }, early.signal)
      for (let at = 0; at < turns; at++) await Promise.resolve()
      early.abort(reason)
      await assert.rejects(begun, (error) => error === reason)
    }
    await gate(() => server.sockets.size === 0)
    assert.equal(asked.length, 2)
    await other.close()
  })

  test('http.stat() reads fields in UTF-8', async () => {
    const answer = Buffer.from('HTTP/1.1 302 Found\r\nlocation: /é\r\ncontent-length: 0\r\n\r\n')
    const paths: string[] = []
    await using server = new ScriptedServer((socket, request) => {
      paths.push(request.split(' ')[1] ?? '')
      socket.write(paths.length === 1 ? answer : ok)
    })
    assert.equal(await got(await server.url()), 'four')
    assert.deepEqual(paths, ['/', '/%C3%A9'])
  })

  test('A connection that is kept lets a process end', async () => {
    await using server = new ScriptedServer((socket) => socket.write(ok))
    const source = fileURLToPath(new URL('../../src/source/http.js', import.meta.url))
    const script = `
      const { http } = await import(${JSON.stringify(source)})
      const source = http({ keepAliveMs: 3_600_000 })
      const signal = new AbortController().signal
      const url = new URL(${JSON.stringify(await server.url())})
      for await (const chunk of source.read({ url, headers: {}, signal, offset: 0 })) console.log(chunk.length)`
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '-e', script],
      { timeout: 20_000 },
    )
    assert.equal(stdout, '4\n')
  })
})

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { type HttpOptions, http } from '../../src/source/http.ts'
import { Sources } from '../../src/source/sources.ts'
import { type Certificates, makeCertificates } from './certificates.ts'
import { RangeServer } from './range-server.ts'
import { readAll, rejection } from './reading.ts'
import { VirtualClock } from './virtual-clock.ts'

describe('http over TLS', () => {
  const bytes = new TextEncoder().encode('content')
  const clock = new VirtualClock()
  let certificates: Certificates

  before(async () => {
    certificates = await makeCertificates()
  })

  after(() => {
    delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
  })

  async function read(url: string, options: HttpOptions): Promise<string> {
    const sources = new Sources([http({ clock, ...options })])
    try {
      return Buffer.from(await readAll(sources.bind({ url, headers: {} }))).toString()
    } finally {
      await sources.close()
    }
  }

  test('http.read() trusts a private authority that was given, as text or bytes, alone or in a list', async () => {
    await using server = await RangeServer.start(certificates.server)
    const url = server.put('/a', { bytes })
    const { ca } = certificates
    for (const given of [ca, Buffer.from(ca), [ca], [new TextEncoder().encode(ca)]]) {
      assert.equal(await read(url, { tls: { ca: given } }), 'content')
    }
  })

  test('http.read() refuses what no trusted authority signed, at once and whatever the environment says', async () => {
    await using server = await RangeServer.start(certificates.server)
    const url = server.put('/a', { bytes })
    for (const verify of ['1', '0']) {
      process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = verify
      const error = await rejection(read(url, {}), 'ORIGIN_TLS')
      assert.deepEqual(error.details, { url, reason: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
    }
    assert.deepEqual([server.seen.length, clock.delays.length], [0, 0])
  })

  test('http.read() refuses a certificate for another host, unless that name was asked for', async () => {
    await using server = await RangeServer.start(certificates.stranger)
    const url = server.put('/a', { bytes })
    const { ca } = certificates
    const error = await rejection(read(url, { tls: { ca } }), 'ORIGIN_TLS')
    assert.equal(error.details.reason, 'ERR_TLS_CERT_ALTNAME_INVALID')
    assert.equal(await read(url, { tls: { ca, servername: 'elsewhere.test' } }), 'content')
  })

  test('http.read() shows the certificate of this client where one is wanted', async () => {
    const { ca, client, server: pair } = certificates
    await using server = await RangeServer.start({
      ...pair,
      ca,
      requestCert: true,
      rejectUnauthorized: true,
    })
    const url = server.put('/a', { bytes })
    assert.equal(await read(url, { tls: { ca, ...client } }), 'content')
    // With TLS 1.3 the server refuses after the client's handshake is over: the client may see an alert, or only that the connection ends.
    await assert.rejects(read(url, { tls: { ca } }), (error) =>
      PeerError.is(error, 'ORIGIN_TLS', 'ORIGIN_UNREACHABLE'),
    )
    assert.equal(server.seen.length, 1)
  })

  test('http.read() asks again over a new connection when it got the end of another answer', async (t) => {
    const answer = 'HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\ncontent'
    const asked: number[] = []
    const sockets: TLSSocket[] = []
    const server = createTlsServer(certificates.server, (socket) => {
      const number = sockets.push(socket)
      socket.on('error', () => undefined)
      socket.on('data', () => {
        asked.push(number)
        // Three connections are kept. Each answer is longer than it says, which comes out when the next one is due.
        if (asked.length === 3) for (const each of sockets) each.write(answer)
        if (asked.length > 3) socket.write(number <= 3 ? `surplus${answer}` : answer)
      })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const tls = { ca: certificates.ca }
    const sources = new Sources([http({ retriesMax: 0, keepAliveMs: 3_600_000, tls })])
    t.after(async () => {
      await sources.close()
      server.close()
    })
    const { port } = server.address() as AddressInfo
    const origin = sources.bind({ url: `https://127.0.0.1:${port}/`, headers: {} })
    await Promise.all([readAll(origin), readAll(origin), readAll(origin)])
    assert.equal(Buffer.from(await readAll(origin)).toString(), 'content')
    assert.deepEqual([asked.length, asked.at(-1)], [5, 4])
  })

  test('http.read() refuses a server that speaks no TLS', async () => {
    const plain = createServer().listen(0, '127.0.0.1')
    await once(plain, 'listening')
    const url = `https://127.0.0.1:${(plain.address() as AddressInfo).port}/`
    const error = await rejection(read(url, {}), 'ORIGIN_TLS')
    assert.match(error.details.reason, /^(ERR_SSL_|EPROTO)/)
    plain.close()
    plain.closeAllConnections()
  })

  test('http() refuses certificates that are none before any connection', () => {
    assert.throws(() => http({ tls: { cert: 'not PEM', key: 'not PEM' } }))
    const wrong: [HttpOptions['tls'] & object, RegExp][] = [
      [{ cert: certificates.client.cert }, /http\.tls\.cert and http\.tls\.key/],
      [{ ca: 5 as unknown as string }, /http\.tls\.ca .* got 5/],
      [{ key: ['x'] as unknown as string }, /http\.tls\.key/],
      [{ insecure: true } as object, /http\.tls\.insecure/],
    ]
    for (const [tls, message] of wrong)
      assert.throws(() => http({ tls }), { name: 'TypeError', message })
  })
})

import assert from 'node:assert/strict'
import { channel } from 'node:diagnostics_channel'
import type { RequestListener } from 'node:http'
import { after, before, beforeEach, describe, test } from 'node:test'
import type { HookMessages } from '../../src/hooks.ts'
import { http } from '../../src/source/http.ts'
import { Sources } from '../../src/source/sources.ts'
import { makeCertificates } from './certificates.ts'
import { RangeServer } from './range-server.ts'
import { readAll, rejection } from './reading.ts'
import { VirtualClock } from './virtual-clock.ts'

type Requested = HookMessages['dragonfly-peer:source:request']

/** What a user may send along; all but the first three could be credentials. */
const headers = {
  Accept: 'application/x',
  'Accept-Language': 'eo',
  'User-Agent': 'mine',
  Authorization: 'Bearer hidden',
  Cookie: 'session=hidden',
  'Proxy-Authorization': 'Basic hidden',
  'X-Access-Token': 'hidden',
  'Private-Key-Of-Mine': 'hidden',
}

describe('http redirects', () => {
  const bytes = new TextEncoder().encode('content')
  let here: RangeServer
  let there: RangeServer
  let secure: RangeServer
  let ca: string
  const sources = new Sources([http({ clock: new VirtualClock() })])

  before(async () => {
    const certificates = await makeCertificates()
    ca = certificates.ca
    here = await RangeServer.start()
    there = await RangeServer.start()
    secure = await RangeServer.start(certificates.server)
  })

  beforeEach(() => {
    for (const server of [here, there, secure]) server.seen.length = 0
  })

  after(async () => {
    await sources.close()
    for (const server of [here, there, secure]) await server[Symbol.asyncDispose]()
  })

  const to =
    (location: string, status = 302): RequestListener =>
    (_, response) => {
      response.writeHead(status, { location }).end('moved')
    }

  const read = async (url: string, using: Sources = sources): Promise<string> =>
    Buffer.from(await readAll(using.bind({ url, headers }), { offset: 0 })).toString()

  for (const status of [301, 302, 303, 307, 308]) {
    test(`http.read() follows ${status} with the same request`, async () => {
      here.put('/target', { bytes, etag: '"a"' })
      const url = here.on(`/from${status}`, to('/target', status))
      const origin = sources.bind({ url, headers })
      const part = { offset: 2, length: 3, validator: 'etag:"a"' }
      assert.equal(Buffer.from(await readAll(origin, part)).toString(), 'nte')
      const [first, second] = here.seen
      assert.deepEqual([first?.path, second?.path], [`/from${status}`, '/target'])
      for (const name of ['range', 'if-match', 'authorization', 'cookie', 'x-access-token']) {
        assert.ok(first?.headers[name] !== undefined, name)
        assert.equal(second?.headers[name], first?.headers[name], name)
      }
    })
  }

  test('http.read() follows relative locations from where they stand', async () => {
    here.on('/a/b/start', to('../c/next?x=1'))
    here.on('/a/c/next?x=1', to('?x=2'))
    here.on('/a/c/next?x=2', to('//' + new URL(here.origin).host + '/a/end#part'))
    here.put('/a/end', { bytes })
    assert.equal(await read(here.url('/a/b/start')), 'content')
  })

  test('http.read() leaves the user’s headers behind when the origin changes, for good', async () => {
    here.on('/leaves', to(there.url('/comes-back')))
    there.on('/comes-back', to(here.url('/home')))
    here.put('/home', { bytes, etag: '"a"' })
    const origin = sources.bind({
      url: here.url('/leaves').replace('//', '//user:hidden@'),
      headers,
    })
    await readAll(origin, { offset: 0, length: 7, validator: 'etag:"a"' })
    assert.match(JSON.stringify(here.seen[0]?.headers), /hidden/)
    for (const seen of [there.seen[0], here.seen[1]]) {
      assert.ok(seen !== undefined)
      assert.doesNotMatch(JSON.stringify(seen.headers), /hidden/)
      const { accept, 'accept-language': language, 'user-agent': agent } = seen.headers
      assert.deepEqual([accept, language, agent], ['application/x', 'eo', 'mine'])
      assert.deepEqual([seen.headers.range, seen.headers['if-match']], ['bytes=0-6', '"a"'])
      assert.equal(seen.headers['accept-encoding'], 'identity')
    }
  })

  test('http.read() counts another port as another origin, and sends no credentials of a Location', async () => {
    here.on('/named', to(there.url('/target').replace('//', '//sneaky:word@')))
    there.put('/target', { bytes })
    assert.equal(await read(here.url('/named')), 'content')
    assert.equal(there.seen[0]?.headers.authorization, undefined)
  })

  test('http.read() begins each attempt at the first URL: a target may be signed and out of date', async () => {
    let turn = 0
    here.on('/signed', (request, response) =>
      to(there.url(`/signed?turn=${++turn}`))(request, response),
    )
    there.on('/signed?turn=1', (_, response) => {
      response.writeHead(503).end()
    })
    there.put('/signed?turn=2', { bytes })
    assert.equal(await read(here.url('/signed')), 'content')
    assert.deepEqual(
      here.seen.map(({ path }) => path),
      ['/signed', '/signed'],
    )
  })

  const refused: [what: string, location: () => string, reason: string][] = [
    ['to itself', () => here.url('/refused'), 'in a circle'],
    ['to another scheme', () => 'file:///etc/passwd', 'to the scheme file:'],
    ['to nowhere', () => 'http://[', 'Location is not a URL'],
  ]
  for (const [what, location, reason] of refused) {
    test(`http.read() does not follow a redirect ${what}`, async () => {
      const url = here.on('/refused', (request, response) => to(location())(request, response))
      const error = await rejection(read(url), 'ORIGIN_REDIRECT')
      assert.deepEqual(error.details, { url, redirects: 0, reason })
      assert.equal(here.seen.length, 1)
    })
  }

  test('http.read() notices a circle also when user info or a fragment differ', async () => {
    const url = here.on('/same', (request, response) => to(here.url('/same#2'))(request, response))
    await rejection(read(`${url.replace('//', '//user:hidden@')}#1`), 'ORIGIN_REDIRECT')
    assert.equal(here.seen.length, 1)
  })

  test('http.read() does not follow a redirect without a Location', async () => {
    const url = here.on('/without', (_, response) => {
      response.writeHead(302).end()
    })
    const error = await rejection(read(url), 'ORIGIN_REDIRECT')
    assert.equal(error.details.reason, 'no single Location')
  })

  test('http.read() notices a circle over several places', async () => {
    here.on('/one', to(there.url('/two')))
    there.on('/two', to(here.url('/one')))
    const error = await rejection(read(here.url('/one')), 'ORIGIN_REDIRECT')
    assert.deepEqual([error.details.redirects, error.details.reason], [1, 'in a circle'])
  })

  test('http.read() follows ten redirects and no eleventh', async () => {
    for (let at = 0; at < 12; at++) here.on(`/hop${at}`, to(`/hop${at + 1}`))
    here.put('/hop12', { bytes })
    assert.equal(await read(here.url('/hop2')), 'content')
    const error = await rejection(read(here.url('/hop1')), 'ORIGIN_REDIRECT')
    assert.deepEqual([error.details.redirects, error.details.reason], [10, 'more than 10'])
  })

  test('http.read() goes from https to http only when that is allowed', async () => {
    const url = secure.on('/down', to(here.url('/plain')))
    here.put('/plain', { bytes })
    const strict = new Sources([http({ tls: { ca } })])
    const error = await rejection(read(url, strict), 'ORIGIN_REDIRECT')
    assert.equal(error.details.reason, 'from https to http')
    assert.equal(here.seen.length, 0)
    const lax = new Sources([http({ tls: { ca }, allowDowngrade: true })])
    assert.equal(await read(url, lax), 'content')
    assert.doesNotMatch(JSON.stringify(here.seen[0]?.headers), /hidden/)
    await Promise.all([strict.close(), lax.close()])
  })

  test('http.read() goes from http to https', async () => {
    const url = here.on('/up', to(secure.url('/sealed')))
    secure.put('/sealed', { bytes })
    const trusting = new Sources([http({ tls: { ca } })])
    assert.equal(await read(url, trusting), 'content')
    await trusting.close()
  })

  test('http.read() publishes every request, without secrets', async () => {
    const messages: Requested[] = []
    const listen = (message: unknown): void => {
      messages.push(message as Requested)
    }
    const requests = channel('dragonfly-peer:source:request')
    requests.subscribe(listen)
    try {
      here.on('/told?key=hidden', to(there.url('/told?signature=hidden')))
      there.put('/told?signature=hidden', { bytes })
      const url = here.url('/told?key=hidden').replace('//', '//user:hidden@')
      await readAll(sources.bind({ url, headers }), { offset: 1, length: 3 })
    } finally {
      requests.unsubscribe(listen)
    }
    assert.deepEqual(messages, [
      { url: here.url('/told?key'), offset: 1, length: 3, status: 302, attempt: 1 },
      { url: there.url('/told?signature'), offset: 1, length: 3, status: 206, attempt: 1 },
    ])
  })
})

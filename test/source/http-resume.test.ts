import assert from 'node:assert/strict'
import type { RequestListener, ServerResponse } from 'node:http'
import { describe, test } from 'node:test'
import { httpWorld } from './http-world.ts'
import { fixed } from './range-server.ts'
import { patterned, readAll, rejection } from './reading.ts'

describe('http.read(): broken connections', () => {
  const world = httpWorld()
  const { content } = world
  const ranges = (): (string | undefined)[] => world.server.seen.map(({ headers }) => headers.range)

  test('http.read() goes on where a connection broke, within one read, after a pause', async () => {
    const url = world.server.put('/breaks', {
      bytes: content,
      breaks: [140_000, 140_000],
      etag: '"a"',
    })
    const part = { offset: 1000, length: 290_000 }
    assert.deepEqual(await readAll(world.bind(url), part), content.slice(1000, 291_000))
    assert.equal(ranges()[0], 'bytes=1000-290999')
    assert.equal(world.server.seen.length, 3)
    for (const [at, { headers }] of world.server.seen.entries()) {
      assert.match(headers.range ?? '', /^bytes=\d+-290999$/)
      assert.equal(headers['if-match'], at === 0 ? undefined : '"a"')
    }
    // Half of the pause is random; each attempt made progress, so the pause does not grow.
    assert.deepEqual(world.clock.delays, [150, 150])
  })

  test('http.read() asks a broken open-ended read for the rest only', async () => {
    const url = world.server.put('/rest', { bytes: content, breaks: [150_000], etag: '"a"' })
    assert.deepEqual(await readAll(world.bind(url)), content)
    assert.equal(ranges()[0], undefined)
    assert.match(ranges()[1] ?? '', /^bytes=\d+-$/)
  })

  test('http.read() ends well when the connection broke after the last byte of unknown length', async () => {
    let requests = 0
    const url = world.server.on('/last', (request, response) => {
      if (++requests === 1) {
        response.write(content, () => response.destroy())
        return
      }
      assert.equal(request.headers.range, `bytes=${content.length}-`)
      response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end()
    })
    assert.deepEqual(await readAll(world.bind(url)), content)
  })

  test('http.read() gives up after so many attempts without progress, with growing pauses', async () => {
    const url = world.server.on('/reset', (request) => request.socket.resetAndDestroy())
    const error = await rejection(readAll(world.bind(url)), 'ORIGIN_UNREACHABLE')
    assert.equal(error.details.attempts, 5)
    assert.deepEqual(world.clock.delays, [150, 300, 600, 1200])
  })

  test('http.read() gives up an origin that breaks off after each few bytes', async () => {
    const breaks = Array.from({ length: 50 }, () => 100)
    const url = world.server.put('/trickle', { bytes: content, breaks })
    await rejection(readAll(world.bind(url)), 'ORIGIN_UNREACHABLE')
    assert.equal(world.server.seen.length, 5)
  })

  test('http.read() counts anew after progress', async () => {
    const breaks = [0, 0, 0, 250_000, 0, 0, 0]
    const url = world.server.put('/progress', { bytes: content, breaks })
    assert.deepEqual(await readAll(world.bind(url)), content)
    assert.equal(world.server.seen.length, 8)
  })

  test('http.read() resumes a short part that ended in good order', async () => {
    let requests = 0
    const url = world.server.on('/short', (request, response) => {
      const first = Number(/=(\d+)-/.exec(request.headers.range ?? '')?.[1])
      response.writeHead(206, { 'content-range': `bytes ${first}-999/300000` })
      response.end(content.subarray(first, ++requests === 1 ? 400 : 1000))
    })
    const read = await readAll(world.bind(url), { offset: 100, length: 900 })
    assert.deepEqual(read, content.slice(100, 1000))
    assert.equal(ranges()[1], 'bytes=400-999')
  })

  test('http.read() starts anew without ranges only for the same strong tag, and delivers nothing twice', async () => {
    const url = world.server.put('/anew', {
      bytes: content,
      breaks: [120_000],
      etag: '"a"',
      ranges: false,
    })
    assert.deepEqual(await readAll(world.bind(url), { offset: 0 }), content)
    assert.equal(world.server.seen.length, 2)
  })

  for (const [what, etag] of [
    ['no tag', undefined],
    ['a weak tag', 'W/"a"'],
  ] as const) {
    test(`http.read() does not start anew without ranges for ${what}`, async () => {
      const more = etag === undefined ? { ranges: false } : { ranges: false, etag }
      const url = world.server.put('/unproven', { bytes: content, breaks: [120_000], ...more })
      const error = await rejection(readAll(world.bind(url)), 'ORIGIN_UNREACHABLE')
      assert.equal(error.details.attempts, 2)
    })
  }

  test('http.read() fails with ORIGIN_CHANGED when another version answers after a break', async () => {
    const next = { bytes: content, etag: '"b"' }
    const thing = { bytes: content, breaks: [100_000], etag: '"a"', next }
    const url = world.server.put('/other', thing)
    const error = await rejection(readAll(world.bind(url)), 'ORIGIN_CHANGED')
    assert.deepEqual(
      { ...error.details, url: '' },
      { url: '', what: 'etag', expected: '"a"', actual: '"b"' },
    )
  })

  test('http.read() fails with ORIGIN_CHANGED when the length is another after a break', async () => {
    const next = { bytes: patterned(300_001) }
    const url = world.server.put('/longer', { bytes: content, breaks: [100_000], next })
    const error = await rejection(readAll(world.bind(url)), 'ORIGIN_CHANGED')
    assert.deepEqual(
      { ...error.details, url: '' },
      { url: '', what: 'length', expected: '300000', actual: '300001' },
    )
  })

  test('http.read() waits as long as Retry-After says, within a bound', async () => {
    const answers: RequestListener[] = [
      fixed(429, { 'retry-after': '7' }, 'slow down: this is not content'),
      fixed(503, { 'retry-after': new Date(world.clock.date() + 7150 + 20_000).toUTCString() }),
      fixed(503, { 'retry-after': '86400' }),
      fixed(429, { 'retry-after': 'soon' }),
      fixed(200, {}, 'content'),
    ]
    const url = world.server.on('/busy', (request, response) =>
      answers.shift()?.(request, response),
    )
    assert.equal(Buffer.from(await readAll(world.bind(url))).toString(), 'content')
    const [seconds, date = 0, tooLong, unreadable] = world.clock.delays
    assert.equal(seconds, 7000)
    assert.ok(date > 18_000 && date <= 20_150, `${date}`)
    assert.deepEqual([tooLong, unreadable], [60_000, 1200])
  })

  test('http.read() never hands on the body of an error', async () => {
    let requests = 0
    const url = world.server.on('/limited', (request, response) => {
      if (++requests > 1) fixed(429, { 'content-length': 300_000 }, content)(request, response)
      else breakOff(response)
    })
    const breakOff = (response: ServerResponse): void => {
      response.writeHead(200, { 'content-length': 300_000 })
      response.write(content.subarray(0, 250_000), () => response.destroy())
    }
    let got = 0
    const reading = async (): Promise<void> => {
      for await (const chunk of world.bind(url).read({ offset: 0 }, new AbortController().signal)) {
        assert.ok(Buffer.from(chunk).equals(content.subarray(got, got + chunk.length)))
        got += chunk.length
      }
    }
    const error = await rejection(reading(), 'ORIGIN_UNAVAILABLE')
    assert.deepEqual([error.details.status, error.details.attempts], [429, 5])
    assert.ok(got <= 250_000)
  })
})

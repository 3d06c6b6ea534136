import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { startPeer } from '../peer/start-peer.ts'
import { Content } from '../support/content.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyBytes } from '../support/verify.ts'
import { site, wantedOf } from './site.ts'
import { hasty, keptBy, limit, mib } from './swarm.ts'

for (const [name, options] of [
  ['with a length', {}],
  ['without a length', { lengthKnown: false, ranges: false }],
] as const) {
  test(`Scar: an incomplete download ${name} never reports success`, limit, async (t) => {
    const from = await origin(t, {
      length: 5 * mib,
      ...options,
      answer: ({ kind }) => (kind === 'stat' ? undefined : { is: 'reset', afterBytes: 100_000 }),
    })
    const peer = await startPeer(t, { sources: hasty() })
    const path = join(tempFolder(t), 'out')
    const download = peer.download(from.url)
    const failed = (error: unknown): boolean => PeerError.is(error, 'ORIGIN_UNREACHABLE')
    await Promise.all([
      assert.rejects(download.toFile(path), failed),
      assert.rejects(download.done, failed),
    ])
    assert.equal(existsSync(path), false)
    await assert.rejects(peer.download(from.url).bytes(), failed)
    await assert.rejects(async () => {
      for await (const _ of peer.download(from.url)) assert.ok(true)
    }, failed)
  })
}

for (const [name, contentRange] of [
  [
    'another range',
    (start: number, end: number, length: number) => `bytes ${start + 1}-${end}/${length}`,
  ],
  [
    'a longer range',
    (start: number, end: number, length: number) => `bytes ${start}-${end}/${length}`,
  ],
  [
    'a shorter range',
    (start: number, end: number, length: number) => `bytes ${start}-${end - 2}/${length}`,
  ],
] as const) {
  test(`Scar: ${name} than the one that was asked for is not taken for it`, limit, async (t) => {
    const content = new Content(9 * mib)
    const from = await site(t, (request, response) => {
      const { start, end } = wantedOf(request, content.length)
      const stat = end - start === 1
      const range = stat ? `bytes 0-0/${content.length}` : contentRange(start, end, content.length)
      response.writeHead(206, { 'content-range': range, etag: '"a"' })
      response.end(content.bytes(start, end - start))
    })
    const peer = await startPeer(t, { sources: hasty() })
    await assert.rejects(peer.download(`${from.origin}/a`).bytes(), (error) =>
      PeerError.is(error, 'ORIGIN_PROTOCOL', 'ORIGIN_CHANGED'),
    )
  })
}

test(
  'Scar: the error page of an origin that limits its rate is not content, here or at other peers',
  limit,
  async (t) => {
    const content = new Content(5 * mib)
    let refusals = 3
    const from = await site(t, (request, response) => {
      const { start, end } = wantedOf(request, content.length)
      if (refusals-- > 0) {
        const page = Buffer.alloc(end - start, 'slow down ')
        response.writeHead(429, {
          'retry-after': '0',
          'content-length': page.length,
          'content-range': `bytes ${start}-${end - 1}/${content.length}`,
        })
        response.end(page)
        return
      }
      response.writeHead(206, {
        'content-range': `bytes ${start}-${end - 1}/${content.length}`,
        etag: '"a"',
      })
      response.end(content.bytes(start, end - start))
    })
    const peer = await startPeer(t)
    const other = await startPeer(t, { scheduler: peer.schedulerAddress })
    verifyBytes(await peer.download(`${from.origin}/a`).bytes(), content)
    verifyBytes(await other.download(`${from.origin}/a`).bytes(), content)
    refusals = Number.POSITIVE_INFINITY
    const given = await startPeer(t, { sources: hasty(), store: 'memory' })
    await assert.rejects(given.download(`${from.origin}/b`).done, (error) =>
      PeerError.is(error, 'ORIGIN_UNAVAILABLE'),
    )
    assert.equal(keptBy(given), 0)
  },
)

test(
  'Scar: peers that start together do not go to the origin each for itself',
  limit,
  async (t) => {
    const from = await origin(t, { length: 9 * mib })
    const first = await startPeer(t, { store: 'memory' })
    const others = await Promise.all(
      Array.from({ length: 7 }, () =>
        startPeer(t, { store: 'memory', scheduler: first.schedulerAddress }),
      ),
    )
    const downloads = [first, ...others].map((peer) => peer.download(from.url).bytes())
    for (const bytes of await Promise.all(downloads)) verifyBytes(bytes, from.content)
    assert.ok(from.counts.bytes <= 1.05 * 9 * mib, `${from.counts.bytes} bytes from the origin`)
  },
)

for (const [name, options] of [
  ['an entity tag', {}],
  ['a date', { etag: false }],
] as const) {
  test(
    `Scar: content that changes between two pieces is never mixed, told by ${name}`,
    limit,
    async (t) => {
      const from = await origin(t, {
        length: 13 * mib,
        ...options,
        answer: ({ kind }) => {
          if (kind === 'ranged' && from.content.seed === 1) from.change({})
          return undefined
        },
      })
      const peer = await startPeer(t, { sources: hasty() })
      const child = await startPeer(t, { scheduler: peer.schedulerAddress })
      await assert.rejects(peer.download(from.url, { concurrency: 1 }).bytes(), (error) =>
        PeerError.is(error, 'ORIGIN_CHANGED'),
      )
      verifyBytes(await peer.download(from.url).bytes(), from.content)
      verifyBytes(await child.download(from.url).bytes(), from.content)
    },
  )
}

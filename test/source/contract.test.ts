import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { PeerError } from '../../src/errors.ts'
import { file } from '../../src/source/file.ts'
import { type HttpOptions, http } from '../../src/source/http.ts'
import type { Source } from '../../src/source/source.ts'
import { type SourceWorld, sourceContract } from '../contract/source.ts'
import { makeCertificates } from './certificates.ts'
import { RangeServer, type Thing } from './range-server.ts'

const full = { ranges: true, validators: true }

async function overHttp(
  server: RangeServer,
  more: Omit<Thing, 'bytes'>,
  options: HttpOptions = {},
): Promise<SourceWorld> {
  let version = 0
  return {
    source: http(options),
    async put(name, bytes) {
      version++
      const etag = more.etag === undefined ? {} : { etag: more.etag.replace('*', `${version}`) }
      const date = new Date(Date.UTC(2026, 0, 1) + version * 1000).toUTCString()
      const dated = more.lastModified === undefined ? {} : { lastModified: date }
      return server.put(`/${name}`, { ...more, bytes, ...etag, ...dated })
    },
    missing: () => server.url('/missing'),
    close: () => server[Symbol.asyncDispose](),
  }
}

sourceContract('http with strong entity tags', full, async () =>
  overHttp(await RangeServer.start(), { etag: '"version *"' }),
)

sourceContract('http with weak entity tags', full, async () =>
  overHttp(await RangeServer.start(), { etag: 'W/"version *"' }),
)

sourceContract('http with dates', full, async () =>
  overHttp(await RangeServer.start(), { lastModified: 'yes' }),
)

sourceContract('http without ranges', { ranges: false, validators: true }, async () =>
  overHttp(await RangeServer.start(), { etag: '"version *"', ranges: false }),
)

sourceContract('https with a private authority', full, async () => {
  const { ca, server } = await makeCertificates()
  return overHttp(await RangeServer.start(server), { etag: '"version *"' }, { tls: { ca } })
})

sourceContract('file', full, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'source-'))
  return {
    source: file(),
    async put(name, content) {
      const path = join(folder, name)
      await writeFile(path, content)
      return pathToFileURL(path).href
    },
    missing: () => pathToFileURL(join(folder, 'missing')).href,
    close: () => rm(folder, { recursive: true }),
  }
})

/** The smallest source that a user can write, over a table in memory. */
function memory(kept: ReadonlyMap<string, Uint8Array>): Source {
  const find = (url: URL): Uint8Array => {
    const found = kept.get(url.pathname)
    if (found !== undefined) return found
    throw new PeerError('ORIGIN_NOT_FOUND', 'No such entry', { url: url.href })
  }
  return {
    scheme: 'demo',
    async stat({ url }) {
      return { length: find(url).length, ranges: true, headers: {} }
    },
    async *read({ url, offset, length }) {
      const bytes = find(url)
      const end = length === undefined ? bytes.length : offset + length
      if (offset > bytes.length) {
        const details = { url: url.href, expected: `${offset}`, actual: `${bytes.length}` }
        throw new PeerError('ORIGIN_PROTOCOL', 'Past the end', details)
      }
      for (let at = offset; at < end && at < bytes.length; at += 100_000) {
        yield bytes.subarray(at, Math.min(at + 100_000, end))
      }
    },
  }
}

sourceContract('a custom source', { ranges: true, validators: false }, async () => {
  const kept = new Map<string, Uint8Array>()
  return {
    source: memory(kept),
    async put(name, content) {
      kept.set(`/${name}`, content)
      return `demo://table/${name}`
    },
    missing: () => 'demo://table/missing',
    close: async () => kept.clear(),
  }
})

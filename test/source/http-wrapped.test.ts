import { describe, test } from 'node:test'
import { http } from '../../src/source/http.ts'
import type { Source, SourceRead } from '../../src/source/source.ts'
import { Sources } from '../../src/source/sources.ts'
import { cleanup } from '../support/cleanup.ts'
import { httpWorld } from './http-world.ts'
import { content, scene } from './passing.ts'

/** What lies at the origin is content that was turned over, byte by byte. */
function turned(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte) => byte ^ 0xff)
}

/** What a source in front of another one does with the bytes. */
async function* turning(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) yield turned(chunk)
}

/** Ways in which sources are put in front of others. */
const ways: Readonly<Record<string, (inner: Source) => Source>> = {
  'a source of its own': (inner) => ({
    scheme: 'http',
    stat: async (request) => inner.stat(request),
    read: (request) => turning(inner.read(request)),
  }),
  'a copy of its properties': (inner) => ({
    ...inner,
    stat: async (request) => inner.stat(request),
    read: (request) => turning(inner.read(request)),
  }),
  'an object that inherits': (inner) =>
    Object.create(inner, {
      stat: { value: async (request: SourceRead) => inner.stat(request) },
      read: { value: (request: SourceRead) => turning(inner.read(request)) },
      close: { value: async () => inner.close?.() },
    }),
  'another method in place': (inner) => {
    const read = inner.read.bind(inner)
    return Object.assign(inner, { read: (request: SourceRead) => turning(read(request)) })
  },
  'a method with all properties of the other': (inner) => {
    const read = (request: SourceRead): AsyncIterable<Uint8Array> => turning(inner.read(request))
    const all = Object.getOwnPropertyDescriptors(inner.read)
    const stat: Source['stat'] = async (request) => inner.stat(request)
    return { scheme: 'http', stat, read: Object.defineProperties(read, all) }
  },
  'a proxy of the method': (inner) => ({
    scheme: 'http',
    stat: async (request) => inner.stat(request),
    read: new Proxy(inner.read, {
      apply: (read, _, [request]: [SourceRead]) => turning(read.call(inner, request)),
    }),
  }),
}

describe('Origin.read() with a slot', () => {
  const world = httpWorld()
  for (const [name, wrap] of Object.entries(ways)) {
    test(`Origin.read() puts into the slot what a source in front of http() makes of it: ${name}`, async (t) => {
      const { read } = await scene(t)
      const url = world.server.put('/turned', { bytes: turned(content.bytes()), etag: '"one"' })
      const inner = http({ clock: world.clock })
      const sources = new Sources([wrap(inner)])
      cleanup(t, async () => {
        await sources.close()
        await inner.close?.()
      })
      await read(sources.bind({ url, headers: {} }), 1)
    })
  }
})

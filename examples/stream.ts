/**
 * Content in order, while it arrives. The loop sets the pace: a slow one slows the download down, and memory stays small whatever the length.
 *
 *   node build/examples/stream.js [URL]
 */
import { createHash } from 'node:crypto'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { Peer } from 'dragonfly-peer'
import { input } from './input.ts'

await using peer = await Peer.start()

const hash = createHash('sha256')
for await (const chunk of peer.download(input)) hash.update(chunk)
console.log(`sha256 ${hash.digest('hex')}`)

// A download is an async iterable, so it fits wherever Node takes one. This one finds everything here already.
let zippedBytes = 0
const counter = new Writable({
  write(chunk: Buffer, _encoding, done) {
    zippedBytes += chunk.length
    done()
  },
})
await pipeline(peer.download(input), createGzip({ level: 1 }), counter)
console.log(`${zippedBytes} bytes when zipped`)

// The same as a web stream, for everything that is made for `fetch()`.
const blob = await new Response(peer.download(input).stream()).blob()
console.log(`${blob.size} bytes in a blob`)

/**
 * A source of one's own: content from anywhere, named by a URL scheme. This one makes all files of a folder one content.
 *
 *   node build/examples/source.js [folder]
 */
import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Peer, type Source } from 'dragonfly-peer'
import { input } from './input.ts'

const folder: Source = {
  scheme: 'folder',
  async stat({ url }) {
    const sizes = await Promise.all(
      (await files(url.pathname)).map(async (path) => (await stat(path)).size),
    )
    const length = sizes.reduce((sum, bytes) => sum + bytes, 0)
    // Without ranges it is only asked for everything. A validator would tell when the content changes.
    return { length, ranges: false, headers: {} }
  },
  async *read({ url }) {
    for (const path of await files(url.pathname)) yield* createReadStream(path)
  },
}

async function files(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true })
  return entries.flatMap((entry) => (entry.isFile() ? `${path}/${entry.name}` : [])).sort()
}

const path = process.argv[2] ?? fileURLToPath(new URL('.', input))
await using peer = await Peer.start({ sources: [folder] })
const bytes = await peer.download(`folder://${path}`).bytes()
console.log(`${path} has ${bytes.length} bytes in all`)

/**
 * A URL becomes a file: peers of the network give what they have, the origin gives the rest.
 *
 *   node build/examples/download.js [URL] [path]
 */
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Peer } from 'dragonfly-peer'
import { input } from './input.ts'

const path = process.argv[3] ?? join(await mkdtemp(join(tmpdir(), 'dragonfly-peer-')), 'content')

await using peer = await Peer.start()
const task = await peer.download(input).toFile(path)

console.log(`${task.length} bytes in ${task.pieces} pieces are at ${path}`)
console.log('From the origin, from peers, from this host:', task.traffic)

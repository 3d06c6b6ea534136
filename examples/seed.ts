/**
 * A file that lies on this disk is published as the content of a URL. Nothing is copied, and the URL need not exist.
 *
 *   node build/examples/seed.js [path]
 */
import { fileURLToPath } from 'node:url'
import { Peer } from 'dragonfly-peer'
import { input } from './input.ts'

const path = process.argv[2] ?? fileURLToPath(input)
const url = 'https://models.example/reader.onnx'

await using publisher = await Peer.start()
await using seeding = await publisher.seed(path, { url })
console.log(`${path} is published as task ${seeding.task.id}`)

// Another process would join in the same way, with the address as text.
await using reader = await Peer.start({ scheduler: publisher.schedulerAddress })
const download = reader.download(url, { backToSource: 'never' })
const bytes = await download.bytes()
const { traffic } = await download.done
console.log(`${bytes.length} bytes arrived, ${traffic.peers} of them from a peer`)

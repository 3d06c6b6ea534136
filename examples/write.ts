/**
 * Content is written into the network, which keeps it on several hosts for a time: no origin, no other storage. Its id is all that a reader needs.
 *
 *   node build/examples/write.js [text]
 */
import { Peer } from 'dragonfly-peer'

const text = process.argv[2] ?? 'Weights of epoch 7'

await using writer = await Peer.start()
await using reader = await Peer.start({ scheduler: writer.schedulerAddress })

// A path, bytes, or anything that yields bytes.
const task = await writer.write(new TextEncoder().encode(text), {
  ttlMs: 3_600_000,
  replicas: 2,
  tag: 'checkpoint',
})
console.log(`Written as task ${task.id}`)

const bytes = await reader.download({ task: task.id }).bytes()
console.log(`Read back: ${new TextDecoder().decode(bytes)}`)

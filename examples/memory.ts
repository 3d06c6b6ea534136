/**
 * Content straight into memory: one allocation, which the pieces are read into. Shared memory is seen by worker threads without a copy.
 *
 *   node build/examples/memory.js [URL]
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { Peer } from 'dragonfly-peer'
import { input } from './input.ts'

await using peer = await Peer.start()
const bytes = await peer.download(input).bytes({ shared: true })

const worker = new Worker(
  `const { parentPort, workerData } = require('node:worker_threads')
   let zeros = 0
   for (const byte of workerData) if (byte === 0) zeros += 1
   parentPort.postMessage(zeros)`,
  { eval: true, workerData: bytes },
)
const [zeros] = (await once(worker, 'message')) as [number]
console.log(`A worker found ${zeros} zeros among ${bytes.length} bytes`)

// Memory that is there already, for example a part of a model's arena.
const arena = new Uint8Array(bytes.length + 4096)
const part = await peer.download(input, { into: arena.subarray(4096) }).bytes()
console.log(`${part.length} bytes lie at offset ${part.byteOffset} of the arena`)

/** A worker that is always in the middle of something, to be terminated there. `workerData` says what it does. */
import { parentPort, workerData } from 'node:worker_threads'
import { connectedPair, MiB, nativeRdma, openPort, outcome } from './rig.ts'

const native = nativeRdma()
const { context } = await openPort(native)
const pair = await connectedPair(native, context)
await pair.read(0, MiB)
parentPort?.postMessage('busy', [])

/** Reads all the time, sixteen at once. */
async function reads(): Promise<void> {
  for (;;) {
    await Promise.all(Array.from({ length: 16 }, () => pair.read(0, 4 * MiB)))
  }
}

/** Makes and frees one of each all the time. */
async function objects(): Promise<void> {
  const { domain, memory } = pair.child
  for (;;) {
    const other = await openPort(native)
    const made = await Promise.all([
      native.register(domain, memory.buffer, 0, MiB, 'local'),
      native.allocate(MiB),
      native.queuePair(domain, { readsMax: 8, remoteRead: true }),
      native.domain(context),
      native.devices(),
    ])
    await Promise.all([
      native.deregister(made[0]),
      native.abort(made[2]),
      native.freeQueuePair(made[2]),
      native.freeDomain(made[3]),
      native.close(other.context),
    ])
  }
}

switch (workerData) {
  case 'reads':
    await reads()
    break
  case 'objects':
    await objects()
    break
  case 'exit':
    // With reads on their way.
    for (let at = 0; at < 16; at += 1) void outcome(pair.read(0, 4 * MiB))
    process.exit(0)
    break
  default:
    await native.close(context)
}

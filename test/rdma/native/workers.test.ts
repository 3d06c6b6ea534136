import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import test from 'node:test'
import { Worker } from 'node:worker_threads'
import {
  collect,
  connectedPair,
  liveObjects,
  nativeRdma,
  openPort,
  order,
  realDevice,
  slowness,
  until,
} from './rig.ts'

const native = nativeRdma()

const program = new URL('busy-worker.js', import.meta.url)

function descriptors(): number {
  return readdirSync('/proc/self/fd').length
}

/** Nothing of the addon is left, and nothing in the verbs library either. */
async function nothingLeft(): Promise<void> {
  await until(async () => {
    await collect()
    return native.stats().live.regions === 0
  }, 'no region is left')
  assert.deepEqual(liveObjects(native), [0, 0, 0, 0])
  if (realDevice === undefined) assert.equal(await order('count'), '0 0 0 0 0 0')
}

test('A worker that is terminated in the middle of anything leaves nothing behind, 50 times', async () => {
  // The first one opens what stays open: the library and its control socket.
  await new Worker(program, { workerData: 'once' }).terminate()
  const before = descriptors()
  const done = native.stats().readsDone
  for (let round = 0; round < Math.max(4, 50 / slowness); round += 1) {
    const worker = new Worker(program, { workerData: round % 2 ? 'reads' : 'objects' })
    await new Promise((resolve) => worker.once('message', resolve))
    // After some turns of our loop it is at another place each time.
    for (let turn = 0; turn < (round % 10) * 3; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    await worker.terminate()
  }
  await nothingLeft()
  assert.ok(native.stats().readsDone > done)
  // Others come and go as well, but not one for each worker.
  assert.ok(descriptors() < before + 10, `${descriptors()} descriptors, ${before} before`)
})

test('Workers that end by themselves leave nothing behind, eight at a time', async () => {
  const ends = Array.from({ length: 8 }, (_, at) => {
    const worker = new Worker(program, { workerData: at % 2 ? 'exit' : 'once' })
    return new Promise((resolve, reject) => {
      worker.once('exit', resolve)
      worker.once('error', reject)
    })
  })
  assert.deepEqual(await Promise.all(ends), Array(8).fill(0))
  await nothingLeft()
})

test('The main thread reads undisturbed while workers come and go', async () => {
  const { context } = await openPort(native)
  const pair = await connectedPair(native, context)
  const coming = (async () => {
    for (let round = 0; round < 4; round += 1) {
      const worker = new Worker(program, { workerData: 'reads' })
      await new Promise((resolve) => worker.once('message', resolve))
      await worker.terminate()
    }
  })()
  const end = { reached: false }
  void coming.then(() => (end.reached = true))
  let reads = 0
  while (!end.reached) {
    await pair.read((reads % 64) * 65_536, 65_536)
    reads += 1
  }
  assert.ok(reads > 0)
  await coming
  await native.close(context)
  assert.deepEqual(liveObjects(native), [0, 0, 0, 0])
})

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import test from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  collect,
  connectedPair,
  endOf,
  liveObjects,
  MiB,
  nativeRdma,
  openPort,
  outcome,
  outcomes,
  slowness,
  until,
} from './rig.ts'

const native = nativeRdma()

/** Codes that a read may end with when its connection is ended. */
const ended = new Set(['done', 'ERR_RDMA_FLUSHED 5'])

test('abort() settles every read, and nothing writes to the memory afterwards', async () => {
  const { context } = await openPort(native)
  const untouched = Buffer.alloc(4 * MiB, 0x55)
  for (let round = 0; round < Math.max(4, 40 / slowness); round += 1) {
    const pair = await connectedPair(native, context, context, { readsMax: 32 })
    const settled: string[] = []
    for (let at = 0; at < 32; at += 1) {
      pair.read((at % 4) * MiB, MiB).then(
        () => settled.push('done'),
        ({ code, status }) => settled.push(`${code} ${status}`),
      )
    }
    // At some time of the transfer: after so many turns of the loop.
    for (let turn = 0; turn < round; turn += 1)
      await new Promise((resolve) => setImmediate(resolve))
    await native.abort(pair.child.queuePair)
    assert.equal(settled.length, 32, 'settled when abort() resolves')
    assert.deepEqual(
      settled.filter((end) => !ended.has(end)),
      [],
    )
    const done = settled.filter((end) => end === 'done').length
    assert.ok(
      settled.slice(done).every((end) => end !== 'done'),
      'in order',
    )
    pair.child.memory.fill(0x55)
    await new Promise((resolve) => setImmediate(resolve))
    assert.ok(Buffer.from(pair.child.memory.buffer).equals(untouched))
    await native.abort(pair.child.queuePair)
    await native.freeQueuePair(pair.child.queuePair)
    await native.abort(pair.child.queuePair)
  }
  await native.close(context)
  assert.deepEqual(liveObjects(native), [0, 0, 0, 0])
})

test('abort() right after connect() is called ends the connection after it came about', async () => {
  const { context } = await openPort(native)
  const domain = await native.domain(context)
  const queuePair = await native.queuePair(domain, { readsMax: 1, remoteRead: true })
  const connecting = native.connect(queuePair, endOf(context, queuePair))
  const aborting = native.abort(queuePair)
  const freeing = native.freeQueuePair(queuePair)
  assert.deepEqual(await outcomes([connecting, aborting, freeing]), ['done', 'done', 'done'])
  await native.close(context)
})

test('freeQueuePair(), deregister() and freeDomain() reject with ERR_RDMA_BUSY while something needs them', async () => {
  const { context } = await openPort(native)
  const { child, parent, read } = await connectedPair(native, context)
  const reading = outcomes(Array.from({ length: 16 }, () => read(0, 4 * MiB)))
  assert.equal(await outcome(native.freeQueuePair(child.queuePair)), 'ERR_RDMA_BUSY')
  assert.equal(await outcome(native.deregister(child.into)), 'ERR_RDMA_BUSY')
  assert.equal(await outcome(native.freeDomain(child.domain)), 'ERR_RDMA_BUSY')
  assert.deepEqual(new Set(await reading), new Set(['done']))
  await native.freeQueuePair(child.queuePair)
  assert.equal(await outcome(native.freeDomain(child.domain)), 'ERR_RDMA_BUSY')
  await native.deregister(child.into)
  await native.freeDomain(child.domain)
  assert.equal(await outcome(native.freeDomain(child.domain)), 'ERR_RDMA_CLOSED')
  assert.deepEqual(liveObjects(native), [1, 1, 1, 1])
  assert.equal(await outcome(native.freeDomain(parent.domain)), 'ERR_RDMA_BUSY')
  await native.close(context)
})

test('close() settles everything that is on its way, and twice does nothing', async () => {
  const { context } = await openPort(native)
  const { child, parent, read } = await connectedPair(native, context)
  const reads = outcomes(Array.from({ length: 16 }, () => read(0, 4 * MiB)))
  const making = [
    native.domain(context),
    native.register(child.domain, child.memory.buffer, 0, 4 * MiB, 'local'),
    native.queuePair(child.domain, { readsMax: 1, remoteRead: false }),
    native.deregister(parent.from),
  ]
  const closing = [native.close(context), native.close(context)]
  const late = [
    native.domain(context),
    native.freeDomain(child.domain),
    native.register(child.domain, child.memory.buffer, 0, 4 * MiB, 'local'),
    native.deregister(child.into),
    native.queuePair(child.domain, { readsMax: 1, remoteRead: false }),
    native.connect(child.queuePair, endOf(context, parent.queuePair)),
    native.freeQueuePair(child.queuePair),
    read(0, 1),
  ]
  assert.deepEqual(new Set(await outcomes(late)), new Set(['ERR_RDMA_CLOSED']))
  assert.deepEqual(await outcomes(making), [
    'ERR_RDMA_CLOSED',
    'ERR_RDMA_CLOSED',
    'ERR_RDMA_CLOSED',
    'done',
  ])
  assert.deepEqual(await outcomes(closing), ['done', 'done'])
  // The parent's memory was deregistered in the middle: a read may have met that.
  const allowed = new Set([...ended, 'ERR_RDMA_TRANSFER 10'])
  assert.deepEqual(
    (await reads).filter((end) => !allowed.has(end)),
    [],
  )
  assert.deepEqual(liveObjects(native), [0, 0, 0, 0])
  assert.equal(await outcome(native.close(context)), 'done')
  assert.equal(await outcome(native.abort(child.queuePair)), 'done')
})

test('Handles that are forgotten free what they stood for, reads on their way first come to their end', async () => {
  await collect()
  const reads: Promise<string>[] = []
  // The other end stays for so long: it would be freed at once, as nothing is on its way for it.
  let parent = await (async () => {
    const { context } = await openPort(native)
    const pair = await connectedPair(native, context)
    for (let at = 0; at < 16; at += 1) reads.push(outcome(pair.read(0, 4 * MiB)))
    return [pair.parent]
  })()
  await collect()
  assert.deepEqual(new Set(await Promise.all(reads)), new Set(['done']))
  assert.equal(parent.length, 1)
  parent = []
  await until(async () => {
    await collect()
    const { live } = native.stats()
    return live.contexts + live.domains + live.queuePairs + live.registrations + live.regions === 0
  }, 'everything is freed')
})

test('A domain, registration or queue pair that is forgotten goes alone', async () => {
  const { context } = await openPort(native)
  const pair = await connectedPair(native, context)
  await (async () => {
    await native.register(pair.child.domain, pair.child.memory.buffer, 0, 64, 'local')
    await native.queuePair(pair.child.domain, { readsMax: 1, remoteRead: false })
    await native.domain(context)
  })()
  assert.deepEqual(liveObjects(native), [1, 3, 3, 3])
  await until(async () => {
    await collect()
    return liveObjects(native).join() === '1,2,2,2'
  }, 'the forgotten ones are freed')
  await pair.read(0, 16)
  assert.ok(pair.parent.memory.subarray(0, 16).every((byte, at) => byte === pair.child.memory[at]))
  await native.close(context)
})

test('A process ends by itself with an open context, and not before its reads have', async () => {
  const program = fileURLToPath(new URL('idle-process.js', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [program], {
    timeout: 20_000 * slowness,
  })
  assert.equal(stdout, 'read done\n')
})

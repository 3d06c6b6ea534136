/** What only the stand-in can do on order: each verb failing, a port going down, a device that hangs. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { Worker } from 'node:worker_threads'
import {
  collect,
  connectedPair,
  device,
  endOf,
  gidIndex,
  liveObjects,
  MiB,
  nativeRdma,
  openPort,
  order,
  orders,
  outcome,
  outcomes,
  realDevice,
  until,
} from './rig.ts'

assert.equal(realDevice, undefined, 'A real device takes no orders')

const native = nativeRdma()

const EIO = 5
const ENOMEM = 12

test('open() rejects with what failed, and leaves nothing open', async () => {
  const options = { device, port: 1, gidIndex, onEvent: () => undefined }
  // The library begins to listen for orders when it is first asked for devices.
  await native.devices()
  const verbs = [
    'ibv_open_device',
    'ibv_query_device',
    'ibv_query_port',
    'ibv_query_gid',
    'ibv_create_comp_channel',
    'ibv_create_cq',
  ]
  for (const verb of verbs) {
    await orders(`fail ${verb} ${EIO}`)
    await assert.rejects(native.open(options), (error) => {
      const { code, errno, message } = error as Error & { code: string; errno: number }
      assert.deepEqual([code, errno], ['ERR_RDMA_OPEN', EIO])
      assert.equal(message, `${verb}: Input/output error`)
      return true
    })
    assert.equal(await order('count'), '0 0 0 0 0 0', verb)
  }
  await orders(`fail ibv_get_device_list ${EIO}`)
  assert.equal(await outcome(native.open(options)), 'ERR_RDMA_NO_DEVICE')
  assert.deepEqual(liveObjects(native), [0, 0, 0, 0])
})

test('devices() lists none without RDMA in the kernel, and no ports of what does not open', async () => {
  const ENOSYS = 38
  await native.devices()
  await orders(`fail ibv_get_device_list ${ENOSYS}`)
  assert.deepEqual(await native.devices(), [])
  await orders(`fail ibv_get_device_list ${EIO}`)
  assert.equal(await outcome(native.devices()), `ERR_RDMA_UNAVAILABLE ${EIO}`)
  await orders(`fail ibv_open_device ${EIO}`)
  assert.deepEqual(await native.devices(), [{ name: device, ports: [] }])
  await orders(`fail ibv_query_port ${EIO}`)
  assert.deepEqual(await native.devices(), [{ name: device, ports: [] }])
  assert.equal(await order('count'), '0 0 0 0 0 0')
})

test('Each call that makes or frees something rejects with what failed, and can be tried again', async () => {
  const { context } = await openPort(native)
  const { child, parent } = await connectedPair(native, context)
  const makeDomain = (): Promise<unknown> => native.domain(context)
  const makeQueuePair = (): Promise<unknown> =>
    native.queuePair(child.domain, { readsMax: 4, remoteRead: true })
  const makeRegistration = (): Promise<unknown> =>
    native.register(child.domain, child.memory.buffer, 0, MiB, 'local')
  const other = await native.domain(context)
  const table: readonly (readonly [string, () => Promise<unknown>, string])[] = [
    ['ibv_alloc_pd', makeDomain, 'ERR_RDMA_OPEN'],
    ['ibv_dealloc_pd', () => native.freeDomain(other), 'ERR_RDMA_BUSY'],
    ['ibv_reg_mr', makeRegistration, 'ERR_RDMA_REGISTER'],
    ['ibv_dereg_mr', () => native.deregister(parent.from), 'ERR_RDMA_REGISTER'],
    ['ibv_create_qp', makeQueuePair, 'ERR_RDMA_QUEUE_PAIR'],
    ['INIT', makeQueuePair, 'ERR_RDMA_QUEUE_PAIR'],
    ['ibv_destroy_qp', () => native.freeQueuePair(parent.queuePair), 'ERR_RDMA_QUEUE_PAIR'],
  ]
  // What is made is kept, so that nothing is collected while it is counted.
  const made: unknown[] = []
  for (const [verb, act, code] of table) {
    const before = await order('count')
    await orders(`fail ${verb} ${EIO}`)
    assert.equal(await outcome(act()), `${code} ${EIO}`, verb)
    assert.equal(await order('count'), before, verb)
    made.push(await act())
  }
  assert.equal(made.length, table.length)
  await native.close(context)
  assert.deepEqual(liveObjects(native), [0, 0, 0, 0])
  assert.equal(await order('count'), '0 0 0 0 0 0')
})

test('connect() rejects when a state is not reached, and the queue pair can only be freed', async () => {
  const { context } = await openPort(native)
  const { child } = await connectedPair(native, context)
  for (const state of ['RTR', 'RTS']) {
    const queuePair = await native.queuePair(child.domain, { readsMax: 1, remoteRead: false })
    const remote = endOf(context, child.queuePair)
    await orders(`fail ${state} ${EIO}`)
    assert.equal(await outcome(native.connect(queuePair, remote)), `ERR_RDMA_CONNECT ${EIO}`)
    assert.equal(await outcome(native.connect(queuePair, remote)), 'ERR_RDMA_CONNECT')
    await native.freeQueuePair(queuePair)
  }
  await native.close(context)
})

test('read() rejects when posting fails, and abort() resolves although ERR is refused', async () => {
  const { context } = await openPort(native)
  const pair = await connectedPair(native, context)
  await orders(`fail ibv_post_send ${EIO}`)
  assert.equal(await outcome(pair.read(0, 16)), `ERR_RDMA_TRANSFER ${EIO}`)
  await orders(`fail ibv_post_send ${ENOMEM}`)
  assert.equal(await outcome(pair.read(0, 16)), `ERR_RDMA_BUSY ${ENOMEM}`)
  assert.equal(await outcome(pair.read(0, 16)), 'done')
  await orders(`fail ERR ${EIO}`)
  await native.abort(pair.child.queuePair)
  assert.equal(await outcome(pair.read(0, 16)), 'ERR_RDMA_FLUSHED 5')
  await native.close(context)
})

test('register() rejects with ENOMEM beyond the limit of locked memory', async () => {
  const { context } = await openPort(native)
  const domain = await native.domain(context)
  const buffer = await native.allocate(4 * MiB)
  await orders(`memlock ${MiB}`)
  const first = await native.register(domain, buffer, 0, MiB, 'local')
  const beyond = (): Promise<unknown> => native.register(domain, buffer, 0, 1, 'local')
  assert.equal(await outcome(beyond()), `ERR_RDMA_REGISTER ${ENOMEM}`)
  await native.deregister(first)
  assert.equal(await outcome(beyond()), 'done')
  await orders('memlock 18446744073709551615')
  await native.close(context)
})

test('read() whose memory is deregistered in the middle fails with 10, its key is worth nothing afterwards', async () => {
  const { context } = await openPort(native)
  for (const parts of [0, 1, 2, 3]) {
    const pair = await connectedPair(native, context)
    await orders(`hold ${parts}`)
    const reads = outcomes([pair.read(0, 4 * MiB), pair.read(0, MiB)])
    await native.deregister(pair.parent.from)
    pair.parent.memory.fill(0)
    await orders('go')
    assert.deepEqual(await reads, ['ERR_RDMA_TRANSFER 10', 'ERR_RDMA_FLUSHED 5'], `${parts}`)
  }
  await native.close(context)
})

test('onEvent hears of a port that goes down and comes back; reads fail meanwhile', async () => {
  const { context, events } = await openPort(native)
  const pair = await connectedPair(native, context)
  await pair.read(0, MiB)
  await orders('hold')
  const reads = outcomes([pair.read(0, MiB), pair.read(0, MiB)])
  await orders('port down')
  assert.deepEqual(await reads, ['ERR_RDMA_TRANSFER 12', 'ERR_RDMA_FLUSHED 5'])
  await until(() => events.length > 0, 'the event')
  assert.deepEqual(events, [{ type: 10, queuePair: 0 }])
  const [found] = await native.devices()
  assert.equal(found?.ports[0]?.state, 1)
  await orders('port up', 'go')
  await until(() => events.length > 1, 'the second event')
  assert.deepEqual(events[1], { type: 9, queuePair: 0 })
  const again = await connectedPair(native, context)
  await again.read(0, MiB)
  await native.close(context)
})

test('onEvent hears of the queue pair whose memory was asked for wrongly', async () => {
  const { context, events } = await openPort(native)
  const pair = await connectedPair(native, context)
  await outcome(pair.read(0, 16, { key: 1 }))
  await until(() => events.length > 0, 'the event')
  assert.deepEqual(events, [{ type: 3, queuePair: pair.parent.queuePair.number }])
  await native.close(context)
})

test('onEvent hears of many events in order, and of none after close()', async () => {
  const { context, events } = await openPort(native)
  for (let at = 0; at < 200; at += 1) await orders(`event ${at % 2 ? 8 : 11}`)
  await until(() => events.length === 200, 'all events')
  assert.deepEqual(
    events.map(({ type }) => type),
    Array.from({ length: 200 }, (_, at) => (at % 2 ? 8 : 11)),
  )
  await orders('event 8', 'event 8')
  await native.close(context)
  const heard = events.length
  await collect()
  assert.equal(events.length, heard)
})

test('onEvent may close its context, and may throw', async () => {
  const thrown: unknown[] = []
  const listeners = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', (error) => thrown.push(error))
  const wanted = new Error('from the listener')
  let closing: Promise<void> | undefined
  const context = await native.open({
    device,
    port: 1,
    gidIndex,
    onEvent: () => {
      closing = native.close(context)
      throw wanted
    },
  })
  await orders('event 8')
  await until(() => closing !== undefined, 'the event')
  await closing
  process.removeAllListeners('uncaughtException')
  for (const listener of listeners) process.on('uncaughtException', listener)
  assert.deepEqual(thrown, [wanted])
  assert.deepEqual(liveObjects(native), [0, 0, 0, 0])
})

test('close() flushes reads that nobody answers', async () => {
  const { context } = await openPort(native)
  const pair = await connectedPair(native, context)
  await orders('hold')
  const reads = outcomes(Array.from({ length: 16 }, () => pair.read(0, MiB)))
  await native.close(context)
  assert.deepEqual(new Set(await reads), new Set(['ERR_RDMA_FLUSHED 5']))
  await orders('go')
  assert.equal(await order('count'), '0 0 0 0 0 0')
})

test('abort() flushes reads that nobody answers', async () => {
  const { context } = await openPort(native)
  const pair = await connectedPair(native, context)
  await orders('hold')
  const reads = outcomes(Array.from({ length: 16 }, () => pair.read(0, MiB)))
  await native.abort(pair.child.queuePair)
  assert.deepEqual(new Set(await reads), new Set(['ERR_RDMA_FLUSHED 5']))
  await orders('go')
  await native.close(context)
})

test('Handles are not collected while a read is on its way for them', async () => {
  await collect()
  const parents: unknown[] = []
  const reads = await (async () => {
    const { context } = await openPort(native)
    const pair = await connectedPair(native, context)
    await orders('hold')
    parents.push(pair.parent)
    return [outcome(pair.read(0, 4 * MiB))]
  })()
  for (let round = 0; round < 5; round += 1) await collect()
  assert.deepEqual(liveObjects(native), [1, 2, 2, 2])
  await orders('go')
  assert.deepEqual(await Promise.all(reads), ['done'])
  assert.equal(parents.pop() !== undefined, true)
  await until(async () => {
    await collect()
    return liveObjects(native).every((count) => count === 0)
  }, 'everything is freed')
})

test('A worker that is terminated while a verb hangs is waited for, and leaves nothing behind', async () => {
  const program = new URL('busy-worker.js', import.meta.url)
  for (const verb of [
    'ibv_reg_mr',
    'ibv_create_qp',
    'ibv_alloc_pd',
    'ibv_open_device',
    'ibv_destroy_qp',
  ]) {
    const worker = new Worker(program, { workerData: 'objects' })
    await new Promise((resolve) => worker.once('message', resolve))
    await orders(`slow ${verb} 100`)
    // Somewhere it meets the slow verb: it does nothing but such calls.
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve))
    await worker.terminate()
    await orders(`slow ${verb} 0`)
    assert.deepEqual(liveObjects(native), [0, 0, 0, 0], verb)
    assert.equal(await order('count'), '0 0 0 0 0 0', verb)
  }
})

test('A worker whose memory cannot be deregistered ends all the same, and that memory stays mapped', async () => {
  const program = new URL('busy-worker.js', import.meta.url)
  const worker = new Worker(program, { workerData: 'reads' })
  await new Promise((resolve) => worker.once('message', resolve))
  await orders(`fail ibv_dereg_mr ${EIO} 1`)
  const before = native.stats().live.regions
  await worker.terminate()
  assert.deepEqual(liveObjects(native), [0, 0, 0, 0])
  // The memory of the registration that could not be undone stays mapped for ever.
  await collect()
  assert.equal(native.stats().live.regions, before - 1)
})

import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import {
  connectedPair,
  device,
  endOf,
  gidIndex,
  liveObjects,
  MiB,
  nativeRdma,
  openPort,
  otherDevice,
  outcome,
  outcomes,
  realDevice,
  slowness,
} from './rig.ts'

const native = nativeRdma()

test('devices() lists the device with its port and addresses', async () => {
  const found = (await native.devices()).find(({ name }) => name === device)
  const port = found?.ports.find(({ port: number }) => number === 1)
  assert.ok(port !== undefined)
  assert.equal(port.state, 4)
  assert.equal(port.linkLayer, 2)
  assert.equal(port.activeMtu, 4096)
  const gid = port.gids.find(({ index }) => index === gidIndex)
  assert.equal(gid?.type, 2)
  assert.equal(gid.gid.byteLength, 16)
})

test('open() gives the address and the limits of the port', async () => {
  const { context } = await openPort(native)
  const [found] = (await native.devices()).filter(({ name }) => name === device)
  const gid = found?.ports[0]?.gids.find(({ index }) => index === gidIndex)?.gid
  assert.deepEqual(context.gid, gid)
  assert.equal(context.lid, 0)
  assert.equal(context.mtu, 4096)
  assert.equal(context.readsOutMax, 16)
  assert.equal(context.readsInMax, 16)
  assert.equal(context.readsPostedMax, 1024)
  assert.ok(context.readBytesMax >= 8 * MiB)
  await native.close(context)
})

test('open() rejects for a device, a port or an address that does not exist', async () => {
  const options = { device, port: 1, gidIndex, onEvent: () => undefined }
  assert.equal(await outcome(native.open({ ...options, device: 'none0' })), 'ERR_RDMA_NO_DEVICE')
  assert.match(await outcome(native.open({ ...options, port: 9 })), /^ERR_RDMA_OPEN \d+/)
  assert.equal(await outcome(native.open({ ...options, gidIndex: 255 })), 'ERR_RDMA_OPEN')
  assert.deepEqual(liveObjects(native), [0, 0, 0, 0])
})

test('read() brings the bytes to any offset, and touches nothing beside', async () => {
  const { context } = await openPort(native)
  const other = otherDevice === device ? context : (await openPort(native, otherDevice)).context
  const bytes = 64 * 1024
  const { child, parent } = await connectedPair(native, context, other, { bytes })
  const place = fc
    .record({
      to: fc.nat(bytes - 1),
      from: fc.nat(bytes - 1),
      length: fc.integer({ min: 1, max: bytes }),
    })
    .map(({ to, from, length }) => ({
      to,
      from,
      length: Math.min(length, bytes - to, bytes - from),
    }))
  await fc.assert(
    fc.asyncProperty(place, async ({ to, from, length }) => {
      child.memory.fill(0xa5)
      await native.read(
        child.queuePair,
        { registration: child.into, offset: to, byteLength: length },
        { address: parent.from.address + BigInt(from), key: parent.from.remoteKey },
      )
      const expected = new Uint8Array(bytes).fill(0xa5)
      expected.set(parent.memory.subarray(from, from + length), to)
      assert.deepEqual(Buffer.from(child.memory.buffer), Buffer.from(expected.buffer))
    }),
    { numRuns: 200 / slowness },
  )
  await native.close(context)
  await native.close(other)
})

test('read() resolves in the order of posting, thousands of times', async () => {
  const { context } = await openPort(native)
  const pair = await connectedPair(native, context, context, { readsMax: 64 })
  const before = native.stats()
  const count = 10_000 / slowness
  const length = 400
  const done: number[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < count) {
      const number = next
      next += 1
      await pair.read(number * length, length)
      done.push(number)
    }
  }
  await Promise.all(Array.from({ length: 64 }, lane))
  assert.deepEqual(
    done,
    Array.from({ length: count }, (_, number) => number),
  )
  const bytes = count * length
  const { memory } = pair.child
  const { memory: wanted } = pair.parent
  assert.ok(Buffer.from(memory.buffer, 0, bytes).equals(Buffer.from(wanted.buffer, 0, bytes)))
  const after = native.stats()
  assert.equal(after.readsPosted - before.readsPosted, count)
  assert.equal(after.readsDone - before.readsDone, count)
  assert.equal(after.bytesRead - before.bytesRead, bytes)
  await native.close(context)
})

test('read() rejects with ERR_RDMA_BUSY beyond readsMax, and that read only', async () => {
  const { context } = await openPort(native)
  const pair = await connectedPair(native, context, context, { readsMax: 3 })
  const reads = Array.from({ length: 5 }, (_, at) => pair.read(at * MiB * 0.5, MiB / 2))
  assert.deepEqual(await outcomes(reads), [
    'done',
    'done',
    'done',
    'ERR_RDMA_BUSY',
    'ERR_RDMA_BUSY',
  ])
  await pair.read(0, 4 * MiB)
  assert.ok(Buffer.from(pair.child.memory.buffer).equals(Buffer.from(pair.parent.memory.buffer)))
  await native.close(context)
})

test('read() with a wrong key fails with 10, the reads after it with 5, and the next connection works', async () => {
  const { context } = await openPort(native)
  const pair = await connectedPair(native, context)
  const { remoteKey } = pair.parent.from
  const reads = [0, 1, 0, 0].map((wrong) => pair.read(0, 4096, { key: (remoteKey ^ wrong) >>> 0 }))
  const [first, ...others] = await outcomes(reads)
  assert.equal(first, 'done')
  assert.deepEqual(others, ['ERR_RDMA_TRANSFER 10', 'ERR_RDMA_FLUSHED 5', 'ERR_RDMA_FLUSHED 5'])
  assert.equal(await outcome(pair.read(0, 1)), 'ERR_RDMA_FLUSHED 5')
  await native.freeQueuePair(pair.child.queuePair)
  await native.freeQueuePair(pair.parent.queuePair)
  const again = await connectedPair(native, context)
  await again.read(0, 4096)
  await native.close(context)
})

test('read() fails with 10 outside of the memory, with a key of another domain, and without remoteRead', async () => {
  const { context } = await openPort(native)
  const wrong: readonly ((pair: Awaited<ReturnType<typeof connectedPair>>) => Promise<void>)[] = [
    // One byte beyond its end, and one before its begin.
    ({ child, parent }) =>
      native.read(
        child.queuePair,
        { registration: child.into, offset: 0, byteLength: 2 },
        {
          address: parent.from.address + BigInt(parent.from.byteLength - 1),
          key: parent.from.remoteKey,
        },
      ),
    ({ child, parent }) =>
      native.read(
        child.queuePair,
        { registration: child.into, offset: 0, byteLength: 2 },
        { address: parent.from.address - 1n, key: parent.from.remoteKey },
      ),
    // The same memory, by a key of the child's own domain.
    async ({ child, parent, read }) => {
      const { remoteKey } = await native.register(
        child.domain,
        parent.memory.buffer,
        0,
        MiB,
        'remoteRead',
      )
      await read(0, 16, { key: remoteKey })
    },
    // Registered for its own reads, not for those of others.
    async ({ parent, read }) => {
      const { remoteKey } = await native.register(
        parent.domain,
        parent.memory.buffer,
        0,
        MiB,
        'local',
      )
      await read(0, 16, { key: remoteKey })
    },
    // Deregistered: the key is worth nothing any more.
    async ({ parent, read }) => {
      await native.deregister(parent.from)
      await read(0, 16)
    },
  ]
  for (const [at, attempt] of wrong.entries()) {
    const pair = await connectedPair(native, context)
    assert.equal(await outcome(attempt(pair)), 'ERR_RDMA_TRANSFER 10', `attempt ${at}`)
  }
  await native.close(context)
})

test('read() through a queue pair that does not allow it fails', async () => {
  const { context } = await openPort(native)
  const pair = await connectedPair(native, context)
  const closed = await native.queuePair(pair.parent.domain, { readsMax: 1, remoteRead: false })
  const reader = await native.queuePair(pair.child.domain, { readsMax: 1, remoteRead: false })
  await native.connect(closed, endOf(context, reader))
  await native.connect(reader, endOf(context, closed))
  const into = { registration: pair.child.into, offset: 0, byteLength: 16 }
  const from = { address: pair.parent.from.address, key: pair.parent.from.remoteKey }
  // The answer is "invalid request" (9) or "no access" (10), as the device likes.
  assert.match(await outcome(native.read(reader, into, from)), /^ERR_RDMA_TRANSFER (9|10)$/)
  await native.close(context)
})

test('read() before and after the life of its connection', async () => {
  const { context } = await openPort(native)
  const { child, parent } = await connectedPair(native, context)
  const queuePair = await native.queuePair(child.domain, { readsMax: 1, remoteRead: false })
  const into = { registration: child.into, offset: 0, byteLength: 16 }
  const from = { address: parent.from.address, key: parent.from.remoteKey }
  assert.equal(await outcome(native.read(queuePair, into, from)), 'ERR_RDMA_QUEUE_PAIR')
  await native.abort(queuePair)
  assert.equal(await outcome(native.read(queuePair, into, from)), 'ERR_RDMA_FLUSHED 5')
  await native.freeQueuePair(queuePair)
  assert.equal(await outcome(native.read(queuePair, into, from)), 'ERR_RDMA_CLOSED')
  await native.deregister(child.into)
  assert.equal(await outcome(native.read(child.queuePair, into, from)), 'ERR_RDMA_CLOSED')
  await native.close(context)
  assert.equal(await outcome(native.read(child.queuePair, into, from)), 'ERR_RDMA_CLOSED')
})

test('connect() can be called once, and not after abort()', async () => {
  const { context } = await openPort(native)
  const { child } = await connectedPair(native, context)
  const remote = endOf(context, child.queuePair)
  assert.equal(await outcome(native.connect(child.queuePair, remote)), 'ERR_RDMA_CONNECT')
  const queuePair = await native.queuePair(child.domain, { readsMax: 1, remoteRead: false })
  await native.abort(queuePair)
  assert.equal(await outcome(native.connect(queuePair, remote)), 'ERR_RDMA_CONNECT')
  const serving = await native.queuePair(child.domain, { readsMax: 1, remoteRead: true })
  await native.connect(serving, { ...remote, readsOut: 0 })
  const into = { registration: child.into, offset: 0, byteLength: 16 }
  const read = native.read(serving, into, { address: 0n, key: 0 })
  assert.equal(await outcome(read), 'ERR_RDMA_QUEUE_PAIR', 'connected to be read from only')
  await native.close(context)
})

test('connect() with no address on a network that needs one is refused by the device', async () => {
  const { context } = await openPort(native)
  const domain = await native.domain(context)
  const queuePair = await native.queuePair(domain, { readsMax: 1, remoteRead: false })
  const remote = { ...endOf(context, queuePair), gid: new Uint8Array(16) }
  assert.equal(await outcome(native.connect(queuePair, remote)), 'ERR_RDMA_CONNECT 22')
  await native.freeQueuePair(queuePair)
  await native.close(context)
})

test('read() from a queue pair that is not there ends with 12', async () => {
  const { context } = await openPort(native)
  const { child, parent, read } = await connectedPair(native, context)
  await native.freeQueuePair(parent.queuePair)
  const ends = await outcomes([read(0, 16), read(0, 16)])
  assert.deepEqual(ends, ['ERR_RDMA_TRANSFER 12', 'ERR_RDMA_FLUSHED 5'])
  await native.abort(child.queuePair)
  await native.close(context)
})

test('queuePair() keeps the sum of readsMax within the completion queue', async (t) => {
  const { context } = await openPort(native)
  const domain = await native.domain(context)
  const ends: string[] = []
  const readsMax = context.readsPostedMax
  for (let made = 0; made < 17; made += 1) {
    ends.push(await outcome(native.queuePair(domain, { readsMax, remoteRead: false })))
  }
  assert.equal(ends.pop(), 'ERR_RDMA_QUEUE_PAIR')
  if (realDevice === undefined) assert.deepEqual(new Set(ends), new Set(['done']))
  else t.diagnostic(`a real device: ${ends.join(', ')}`)
  await native.close(context)
  assert.deepEqual(liveObjects(native), [0, 0, 0, 0])
})

import assert from 'node:assert/strict'
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect'
import { test, type TestContext } from 'node:test'
import { type Channel, openChannel } from '../../src/rpc/channel.ts'
import { TaskType } from '../../src/rpc/gen/common/v2/common_pb.ts'
import { DfdaemonUpload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { Rdma } from '../../src/rpc/gen/dragonflypeer/v1/rdma_pb.ts'
import { rdma } from '../../src/transport/rdma/rdma.ts'
import { tcp } from '../../src/transport/tcp/tcp.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { softLibrary } from '../transport/rdma/soft-device.ts'
import { startPeer } from './start-peer.ts'

const mib = 1024 * 1024
const library = softLibrary()
const gid = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1])
const endpoint = { num: 77, lid: 0, gid }

interface Asked {
  readonly upload: Client<typeof DfdaemonUpload>
  readonly leases: Client<typeof Rdma>
  readonly id: string
}

/** A peer with one task in memory, and a caller that says what it wants. */
async function asked(t: TestContext, withRdma = true): Promise<Asked> {
  const transports = withRdma ? [rdma({ library }), tcp()] : [tcp()]
  const peer = await startPeer(t, { store: 'memory', transports })
  const { id } = await peer.write(new Content(9 * mib, 51).bytes(), { replicas: 1 })
  const channel: Channel = openChannel({ address: peer.address })
  cleanup(t, () => channel.close())
  return { upload: createClient(DfdaemonUpload, channel), leases: createClient(Rdma, channel), id }
}

function code(wanted: Code): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof ConnectError)
    assert.equal(Code[error.code], Code[wanted], error.message)
    assert.doesNotMatch(error.message, /\/|0x/)
    return true
  }
}

test('A peer without RDMA answers as if it did not know the services', async (t) => {
  const { upload, leases } = await asked(t, false)
  await assert.rejects(leases.offer({}), code(Code.Unimplemented))
  await assert.rejects(leases.lease({}), code(Code.Unimplemented))
  await assert.rejects(
    upload.exchangeIBVerbsQueuePairEndpoint({ endpoint }),
    code(Code.Unimplemented),
  )
})

test('Offer, exchange, lease, renew and release, as they go over the wire', async (t) => {
  const { upload, leases, id } = await asked(t)
  const offer = await leases.offer({})
  assert.ok(offer.mtu >= 1024 && offer.readsMax >= 1)
  const exchanged = await upload.exchangeIBVerbsQueuePairEndpoint({ endpoint })
  const { num = 0, gid: own } = exchanged.endpoint ?? {}
  assert.ok(num > 0 && num < 1 << 24)
  assert.equal(own?.length, 16)
  const request = { queuePair: num, mtu: 1024, taskId: id, taskType: TaskType.PERSISTENT_CACHE }
  const one = await leases.lease({ ...request, pieces: [1], wait: true })
  assert.equal(one.more, true)
  const [piece] = one.pieces
  assert.ok(piece !== undefined)
  assert.deepEqual(
    [piece.number, piece.offset, piece.length],
    [1, BigInt(4 * mib), BigInt(4 * mib)],
  )
  assert.match(piece.digest, /^crc32:\d+$/)
  const block = await leases.lease({ ...request, pieces: [0, 1, 2, 3, 4] })
  assert.deepEqual(
    block.pieces.map(({ number, length }) => [number, Number(length)]),
    [
      [0, 4 * mib],
      [1, 4 * mib],
      [2, mib],
    ],
  )
  assert.equal(new Set([...block.pieces, piece].map(({ key }) => key)).size, 1)
  assert.ok((await leases.renew({ lease: one.lease })).ttlMs > 1000)
  await leases.release({ lease: one.lease, read: [1] })
  await leases.release({ lease: block.lease })
  await assert.rejects(leases.release({ lease: one.lease }), code(Code.Unavailable))
  await assert.rejects(leases.renew({ lease: one.lease }), code(Code.Unavailable))
})

test('Requests that make no sense are refused', async (t) => {
  const { upload, leases, id } = await asked(t)
  for (const wrong of [
    undefined,
    { ...endpoint, gid: new Uint8Array(4) },
    { ...endpoint, gid: new Uint8Array(16) },
    { ...endpoint, num: 1 << 24 },
    { ...endpoint, num: 0 },
    { ...endpoint, lid: 1 << 16 },
  ]) {
    await assert.rejects(
      upload.exchangeIBVerbsQueuePairEndpoint(wrong === undefined ? {} : { endpoint: wrong }),
      code(Code.InvalidArgument),
    )
  }
  const exchanged = await upload.exchangeIBVerbsQueuePairEndpoint({ endpoint })
  const queuePair = exchanged.endpoint?.num ?? 0
  const taskType: TaskType = TaskType.PERSISTENT_CACHE
  const good = { queuePair, mtu: 1024, taskId: id, taskType, pieces: [0], wait: true }
  for (const [change, wanted] of [
    [{ queuePair: 0 }, Code.InvalidArgument],
    [{ queuePair: 0xff_fff0 }, Code.Unavailable],
    [{ mtu: 1500 }, Code.InvalidArgument],
    [{ mtu: 1 << 30 }, Code.InvalidArgument],
    [{ taskId: 'x' }, Code.InvalidArgument],
    [{ taskId: 'a'.repeat(64) }, Code.NotFound],
    [{ taskType: TaskType.STANDARD }, Code.NotFound],
    [{ taskType: TaskType.CACHE }, Code.InvalidArgument],
    [{ pieces: [3] }, Code.NotFound],
    [{ pieces: [] }, Code.InvalidArgument],
    [{ pieces: [0, 1] }, Code.InvalidArgument],
    [{ pieces: [2 ** 32 - 1] }, Code.InvalidArgument],
  ] satisfies [Partial<Omit<typeof good, 'taskType'>> & { taskType?: TaskType }, Code][]) {
    const request = { ...good, ...change }
    await assert.rejects(leases.lease(request), code(wanted), JSON.stringify(change))
  }
  const numbers = Array.from({ length: 65 }, (_, number) => number)
  await assert.rejects(
    leases.lease({ ...good, wait: false, pieces: numbers }),
    code(Code.InvalidArgument),
  )
  await assert.rejects(leases.release({ lease: 'x', read: numbers }), code(Code.InvalidArgument))
  const { lease } = await leases.lease(good)
  await assert.rejects(leases.lease({ ...good, mtu: 4096 }), code(Code.InvalidArgument))
  await leases.release({ lease })
})

test('A thousand leases at once are bounded, and end', async (t) => {
  const { upload, leases, id } = await asked(t)
  const exchanged = await upload.exchangeIBVerbsQueuePairEndpoint({ endpoint })
  const queuePair = exchanged.endpoint?.num ?? 0
  const request = {
    queuePair,
    mtu: 1024,
    taskId: id,
    taskType: TaskType.PERSISTENT_CACHE,
    pieces: [0],
    wait: true,
  }
  const outcomes = await Promise.allSettled(
    Array.from({ length: 1000 }, async () => {
      const { lease } = await leases.lease(request)
      await leases.release({ lease, read: [0] })
    }),
  )
  const failures = outcomes.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []))
  for (const failure of failures) code(Code.ResourceExhausted)(failure)
  assert.ok(failures.length <= 1000 - 256)
  await leases.release({ lease: (await leases.lease(request)).lease })
})

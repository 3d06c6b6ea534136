import assert from 'node:assert/strict'
import { test } from 'node:test'

import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf'

import {
  DownloadSchema,
  HostSchema,
  NetworkSchema,
  PieceSchema,
} from '../../src/rpc/gen/common/v2/common_pb.ts'
import {
  DfdaemonDownload,
  DfdaemonUpload,
  IBVerbsQueuePairEndpointSchema,
  SyncPersistentCachePiecesRequestSchema,
  SyncPersistentCachePiecesResponseSchema,
  SyncPersistentPiecesRequestSchema,
  SyncPersistentPiecesResponseSchema,
  SyncPiecesRequestSchema,
  SyncPiecesResponseSchema,
} from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { Health } from '../../src/rpc/gen/grpc/health/v1/health_pb.ts'
import { Manager } from '../../src/rpc/gen/manager/v2/manager_pb.ts'
import {
  AnnouncePeerRequestSchema,
  DownloadPieceFinishedRequestSchema,
  NormalPersistentCacheTaskResponseSchema,
  NormalTaskResponseSchema,
  Scheduler,
} from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'

function hex<D extends DescMessage>(schema: D, message: MessageInitShape<D>): string {
  return Buffer.from(toBinary(schema, create(schema, message))).toString('hex')
}

// Written by hand from the field numbers: tag = number << 3 | wire type, then the value.
test('Messages are encoded under the field numbers of the wire', () => {
  const pieces = { hostId: 'h', taskId: 't', interestedPieceNumbers: [0, 300] }
  assert.equal(hex(SyncPiecesRequestSchema, pieces), '0a01681201741a0300ac02')
  const answer = { number: 1, offset: 2n ** 32n, length: 5n, ip: 'i', tcpPort: 4005, quicPort: 0 }
  assert.equal(hex(SyncPiecesResponseSchema, answer), '0801108080808010180522016928a51f3000')
  assert.equal(hex(DownloadSchema, { metadataOnly: true, tag: '' }), '2a00880201')
  assert.equal(hex(NetworkSchema, { maxTxBandwidth: 1n, txBandwidth: 0n }), '58016000')
  assert.equal(hex(HostSchema, { name: 'n', schedulerClusterId: 1n }), '880101a201016e')
  assert.equal(hex(PieceSchema, { digest: '', trafficType: 0 }), '3800')
  assert.equal(
    hex(IBVerbsQueuePairEndpointSchema, { num: 1, gid: new Uint8Array(2) }),
    '08011a020000',
  )
  const request = { case: 'downloadPieceBackToSourceFailedRequest' as const, value: {} }
  assert.equal(hex(AnnouncePeerRequestSchema, { request }), '7a00')
})

test('Own fields stand beside the fields of Dragonfly, which nothing changes', () => {
  const told = { number: 1, offset: 0n, length: 5n, ip: 'i', tcpPort: 4005 }
  const own = { ownDigest: 'crc32:1', ownVersion: 'ab' }
  const plain = '0801180522016928a51f'
  for (const schema of [
    SyncPiecesResponseSchema,
    SyncPersistentPiecesResponseSchema,
    SyncPersistentCachePiecesResponseSchema,
  ]) {
    assert.equal(hex(schema, told), plain)
    const bytes = hex(schema, { ...told, ...own })
    assert.equal(bytes, `${plain}8ab5180763726333323a3192b518026162`)
    const { ownDigest, ownVersion } = fromBinary(schema, Buffer.from(plain, 'hex'))
    assert.deepEqual([ownDigest, ownVersion], [undefined, undefined])
    const ownMore = [{ number: 2, offset: 5n, length: 5n, digest: 'd' }]
    assert.equal(hex(schema, { ...told, ownMore }), `${plain}9ab51809080210051805220164`)
  }
  for (const schema of [
    SyncPiecesRequestSchema,
    SyncPersistentPiecesRequestSchema,
    SyncPersistentCachePiecesRequestSchema,
  ]) {
    assert.equal(hex(schema, { hostId: 'h', ownSeveral: true }), '0a016888b51801')
  }
  const several = { ownSeveral: true }
  assert.equal(hex(NormalTaskResponseSchema, several), '88b51801')
  assert.equal(hex(NormalPersistentCacheTaskResponseSchema, several), '88b51801')
  const pieces = { piece: { number: 1 }, ownNumbers: [2, 3] }
  assert.equal(hex(DownloadPieceFinishedRequestSchema, pieces), '0a0208018ab518020203')
})

test('Messages keep fields that they do not know', () => {
  const bytes = Buffer.from('0a016892030100', 'hex')
  const message = fromBinary(SyncPiecesRequestSchema, bytes)
  assert.deepEqual(Buffer.from(toBinary(SyncPiecesRequestSchema, message)), bytes)
})

test('Services have the methods of the wire', () => {
  const counts = [Scheduler, DfdaemonUpload, DfdaemonDownload, Manager, Health].map((service) => [
    service.typeName,
    service.methods.length,
  ])
  assert.deepEqual(counts, [
    ['scheduler.v2.Scheduler', 33],
    ['dfdaemon.v2.DfdaemonUpload', 23],
    ['dfdaemon.v2.DfdaemonDownload', 21],
    ['manager.v2.Manager', 9],
    ['grpc.health.v1.Health', 2],
  ])
  assert.equal(Scheduler.method.announcePeer.methodKind, 'bidi_streaming')
  assert.equal(DfdaemonUpload.method.syncHost.methodKind, 'server_streaming')
  assert.equal(Manager.method.keepAlive.methodKind, 'client_streaming')
})

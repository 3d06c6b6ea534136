import type { MessageInitShape } from '@bufbuild/protobuf'

import { present, u32, u64, wireTime } from '../../rpc/convert.ts'
import type { HostFacts } from '../../rpc/convert-host.ts'
import {
  type HostSchema,
  type PeerSchema,
  type PersistentCachePeerSchema,
  type PersistentCacheTaskSchema,
  type PieceSchema,
  type Priority,
  SizeScope,
  type TaskSchema,
  TaskType,
} from '../../rpc/gen/common/v2/common_pb.ts'
import { type Geometry, pieceAt } from '../../task/piece.ts'
import type { PeerRecord, TaskRecord } from './records.ts'

/** What stands in for a length that nobody knows. */
const unknownLength = 2n ** 64n - 1n

/** A host as others see it. */
export function hostMessageOf(facts: HostFacts): MessageInitShape<typeof HostSchema> {
  return {
    id: facts.id,
    type: facts.type,
    hostname: facts.hostname,
    ip: facts.ip,
    port: facts.port,
    downloadPort: facts.downloadPort,
    os: facts.os,
    name: facts.name,
    disableShared: facts.disableShared,
    network: {
      maxTxBandwidth: u64(facts.maxTx),
      txBandwidth: u64(facts.tx),
      ...present({ idc: facts.idc, location: facts.location }),
    },
    ...(facts.diskFree === undefined ? {} : { disk: { free: u64(facts.diskFree) } }),
  }
}

/** A standard task. `withPieces`: the first pieces, by which the piece length can be told; the wire has no field for it. */
export function taskMessage(
  task: TaskRecord,
  withPieces = false,
): MessageInitShape<typeof TaskSchema> {
  const { labels, obtainable: geometry } = task
  return {
    id: task.id,
    type: TaskType.STANDARD,
    url: labels.url ?? '',
    filteredQueryParams: [...labels.filteredQueryParams],
    contentLength: geometry === undefined ? unknownLength : u64(geometry.contentLength),
    pieceCount: geometry?.pieceCount ?? 0,
    sizeScope: sizeScope(geometry),
    pieces: withPieces && geometry !== undefined ? firstPieces(geometry, task) : [],
    state: task.state,
    peerCount: task.peers.size,
    hasAvailablePeer: task.replicas.all > 0,
    createdAt: wireTime(task.createdAt),
    updatedAt: wireTime(task.updatedAt),
    ...present({ tag: labels.tag, application: labels.application, digest: labels.digest }),
  }
}

function sizeScope(geometry: Geometry | undefined): SizeScope {
  if (geometry === undefined) return SizeScope.UNKNOW
  if (geometry.contentLength === 0) return SizeScope.EMPTY
  if (geometry.contentLength <= 128) return SizeScope.TINY
  return geometry.pieceCount === 1 ? SizeScope.SMALL : SizeScope.NORMAL
}

function firstPieces(cut: Geometry, task: TaskRecord): MessageInitShape<typeof PieceSchema>[] {
  return Array.from({ length: Math.min(2, cut.pieceCount) }, (_, number) => {
    const piece = pieceAt(cut, number)
    return {
      number,
      offset: u64(piece.offset),
      length: u64(piece.length),
      cost: wireTime(0),
      createdAt: wireTime(task.createdAt),
    }
  })
}

/** A peer of a standard task. Every field that a Go scheduler would miss is filled. */
export function peerMessage(
  peer: PeerRecord,
  task: MessageInitShape<typeof TaskSchema> = taskMessage(peer.task),
): MessageInitShape<typeof PeerSchema> {
  const { range } = peer
  return {
    id: peer.id,
    priority: peer.wish.priority as Priority,
    cost: wireTime(0),
    state: peer.state.is,
    task,
    host: hostMessageOf(peer.host.facts),
    needBackToSource: peer.wish.needBackToSource,
    createdAt: wireTime(peer.createdAt),
    updatedAt: wireTime(peer.task.updatedAt),
    concurrentPieceCount: u32(peer.wish.concurrency),
    ...(range === undefined
      ? {}
      : { range: { start: u64(range.start), length: u64(range.length) } }),
  }
}

/** A persistent cache task. */
export function cacheTaskMessage(
  task: TaskRecord,
): MessageInitShape<typeof PersistentCacheTaskSchema> {
  const { cache, geometry, labels, replicas } = task
  return {
    id: task.id,
    persistentReplicaCount: u64(cache?.replicas ?? 1),
    currentPersistentReplicaCount: u64(replicas.persistent),
    currentReplicaCount: u64(replicas.all),
    pieceLength: u64(geometry?.pieceLength ?? 0),
    contentLength: u64(geometry?.contentLength ?? 0),
    pieceCount: geometry?.pieceCount ?? 0,
    state: task.state === 'Running' ? 'Uploading' : task.state,
    ttl: wireTime(cache?.ttlMs ?? 0),
    createdAt: wireTime(task.createdAt),
    updatedAt: wireTime(task.updatedAt),
    ...present({ tag: labels.tag, application: labels.application }),
  }
}

/** A peer of a persistent cache task. */
export function cachePeerMessage(
  peer: PeerRecord,
  task: MessageInitShape<typeof PersistentCacheTaskSchema> = cacheTaskMessage(peer.task),
): MessageInitShape<typeof PersistentCachePeerSchema> {
  return {
    id: peer.id,
    persistent: peer.persistent,
    cost: wireTime(0),
    state: peer.state.is,
    task,
    host: hostMessageOf(peer.host.facts),
    createdAt: wireTime(peer.createdAt),
    updatedAt: wireTime(peer.task.updatedAt),
    concurrentPieceCount: u32(peer.wish.concurrency),
  }
}

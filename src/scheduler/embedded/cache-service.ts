import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect'

import { idLengthMax, millisOf, textOf, textLengthMax, wholeOf } from '../../rpc/convert.ts'
import type {
  Scheduler,
  UploadPersistentCacheTaskStartedRequest,
} from '../../rpc/gen/scheduler/v2/scheduler_pb.ts'
import { type Geometry, geometry, pieceCountMax } from '../../task/piece.ts'
import { cachePeerMessage, cacheTaskMessage } from './messages.ts'
import { PeerStream } from './peer-stream.ts'
import type { Replicas } from './replicas.ts'
import { cacheDialect } from './server-dialect.ts'
import { dropPeers, hostOf, peerOf, type ServiceWorld } from './service.ts'
import type { PeerRecord, TaskRecord } from './records.ts'

/** A written file without a time to live is kept this long: 24 hours, as upstream. */
const ttlDefaultMs = 24 * 60 * 60 * 1000

type CacheMethods = Pick<
  ServiceImpl<typeof Scheduler>,
  | 'announcePersistentCachePeer'
  | 'statPersistentCachePeer'
  | 'deletePersistentCachePeer'
  | 'uploadPersistentCacheTaskStarted'
  | 'uploadPersistentCacheTaskFinished'
  | 'uploadPersistentCacheTaskFailed'
  | 'statPersistentCacheTask'
  | 'deletePersistentCacheTask'
>

/** Persistent cache tasks (controlplane 5). Importing the same content again is welcome: it is one copy more, or the same one. */
export function cacheMethods(
  world: ServiceWorld & { readonly replicas: Replicas; readonly nowMs: () => number },
): CacheMethods {
  const { registry, replicas } = world
  return {
    announcePersistentCachePeer: (requests, { signal }) =>
      new PeerStream(world, cacheDialect).serve(requests, signal),
    statPersistentCachePeer({ taskId, peerId }) {
      cacheTaskOf(world, taskId)
      return cachePeerMessage(peerOf(world, taskId, peerId))
    },
    deletePersistentCachePeer({ taskId, peerId }) {
      cacheTaskOf(world, taskId)
      const peer = peerOf(world, taskId, peerId)
      dropPeers(world, [peer])
      replicas.removeCopy(taskId, peer.host)
      return {}
    },
    uploadPersistentCacheTaskStarted(request) {
      startImport(world, request)
      return {}
    },
    uploadPersistentCacheTaskFinished({ taskId, peerId }) {
      const task = cacheTaskOf(world, taskId)
      const peer = peerOf(world, taskId, peerId)
      registry.succeeded(peer)
      task.state = 'Succeeded'
      replicas.watch(task)
      const message = cacheTaskMessage(task)
      world.dispatcher.advance(task)
      world.onCopies(task)
      return message
    },
    uploadPersistentCacheTaskFailed({ taskId, peerId }) {
      const task = cacheTaskOf(world, taskId)
      registry.failed(peerOf(world, taskId, peerId), 'The import failed')
      if (task.replicas.all === 0) task.state = 'Failed'
      world.dispatcher.advance(task)
      return {}
    },
    statPersistentCacheTask({ taskId }) {
      return cacheTaskMessage(cacheTaskOf(world, taskId))
    },
    deletePersistentCacheTask({ taskId }) {
      const task = cacheTaskOf(world, taskId)
      replicas.remove(task)
      world.dispatcher.advance(task)
      return {}
    },
  }
}

/** @throws ConnectError NotFound */
function cacheTaskOf({ registry }: ServiceWorld, taskId: string): TaskRecord {
  const task = registry.task(taskId)
  if (task?.kind !== 'persistentCache') {
    throw new ConnectError('The task is unknown', Code.NotFound)
  }
  return task
}

/** Pending → Uploading. A task that is there already keeps its state: it has holders. */
function startImport(
  world: ServiceWorld & { readonly nowMs: () => number; readonly replicas: Replicas },
  request: UploadPersistentCacheTaskStartedRequest,
): void {
  const { registry, limits } = world
  const { taskId, peerId } = request
  if (!textOf(taskId, idLengthMax) || !textOf(peerId, idLengthMax)) {
    throw new ConnectError('The id of the task or the peer is unusable', Code.InvalidArgument)
  }
  const host = hostOf(world, request.hostId)
  const cut = cutOf(request)
  const known = registry.task(taskId)
  if (known !== undefined && !sameContent(known, cut)) {
    throw new ConnectError('The task exists with other content', Code.AlreadyExists)
  }
  const task = registry.ensureTask(taskId, 'persistentCache')
  if (task === undefined) throw new ConnectError('Too many tasks', Code.ResourceExhausted)
  const ttlMs = millisOf(request.ttl) || ttlDefaultMs
  const wanted = Math.max(1, wholeOf(request.persistentReplicaCount) ?? 1)
  // Of two imports the one that wants more, for longer, counts.
  task.cache = {
    replicas: Math.min(limits.replicasMax, Math.max(wanted, task.cache?.replicas ?? 1)),
    ttlMs: Math.max(ttlMs, task.cache?.ttlMs ?? 0),
    expiresMs: Math.max(world.nowMs() + ttlMs, task.cache?.expiresMs ?? 0),
  }
  task.learn(cut)
  const tag = textOf(request.tag, textLengthMax)
  const application = textOf(request.application, textLengthMax)
  task.labels = {
    ...task.labels,
    ...(tag === undefined ? {} : { tag }),
    ...(application === undefined ? {} : { application }),
  }
  world.replicas.watch(task)
  const peer = importer(registry.addPeer(peerId, host, task, importWish(cut)))
  peer.persistent = true
  peer.uploading()
  if (task.state !== 'Succeeded') task.state = 'Running'
}

function importer(peer: PeerRecord | undefined): PeerRecord {
  if (peer === undefined) throw new ConnectError('Too many peers', Code.ResourceExhausted)
  return peer
}

function importWish(cut: Geometry): PeerRecord['wish'] {
  return { geometry: cut, never: true, needBackToSource: false, priority: 0, concurrency: 0 }
}

function sameContent({ kind, geometry: cut, replicas }: TaskRecord, other: Geometry): boolean {
  if (kind !== 'persistentCache') return false
  if (cut === undefined || replicas.all === 0) return true
  return cut.contentLength === other.contentLength && cut.pieceLength === other.pieceLength
}

function cutOf(request: UploadPersistentCacheTaskStartedRequest): Geometry {
  const contentLength = wholeOf(request.contentLength)
  const pieceLength = wholeOf(request.pieceLength)
  if (contentLength === undefined || pieceLength === undefined || pieceLength === 0) {
    throw new ConnectError('The lengths are missing', Code.InvalidArgument)
  }
  if (Math.ceil(contentLength / pieceLength) > pieceCountMax) {
    throw new ConnectError('There are too many pieces', Code.InvalidArgument)
  }
  return geometry(contentLength, pieceLength)
}

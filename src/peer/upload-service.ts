import { create } from '@bufbuild/protobuf'
import { EmptySchema, timestampFromMs } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from '@connectrpc/connect'
import { isTaskId } from '../hash/task-id.ts'
import { idLengthMax, textOf } from '../rpc/convert.ts'
import { DfdaemonUpload } from '../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import type { Host } from '../rpc/gen/common/v2/common_pb.ts'
import type { KeptTask } from '../storage/store.ts'
import { type Piece, pieceCountMax } from '../task/piece.ts'
import type { RdmaService } from '../transport/rdma/control.ts'
import { Scope } from '../util/scope.ts'
import { type HostNews, hostNews } from './host-news.ts'
import { peerIdHeader, validatorHeader } from './parent-feed.ts'
import { permitDelete } from './permission.ts'
import { pieceNewsInParts, toldAtOnceMax } from './piece-news.ts'
import { versionOf } from './record.ts'
import { exchangeQueuePair, rdmaRoutes } from './rdma-service.ts'
import { removeKnownTask, removeTask } from './removal.ts'
import { cacheTaskAnswer, taskAnswer } from './stat-answers.ts'
import type { Tasks } from './tasks.ts'
import { type Trigger, triggerError } from './trigger.ts'
import type { World } from './world.ts'

/** What the upload service needs. */
export interface UploadServiceParts {
  readonly world: World
  readonly tasks: Tasks
  readonly trigger: Trigger
  readonly hostNews: HostNews
  /** Lets others read out of this peer's memory; undefined without such a transport. */
  readonly rdma: RdmaService | undefined
  /** Fires when the peer closes: answers that have no end of their own end then. */
  readonly closing: AbortSignal
}

interface PiecesRequest {
  readonly taskId: string
  readonly interestedPieceNumbers: readonly number[]
  readonly ownSeveral: boolean
}

/**
 * dfdaemon.v2 DfdaemonUpload: what other peers and the scheduler ask of this peer. Whoever can reach the port may call it, so nothing here writes to a path,
 * overwrites or deletes, unless mutual TLS says who calls and `options.tls` allows it (`permission.ts`).
 */
export function uploadRoutes(
  begun: () => UploadServiceParts | undefined,
): (router: ConnectRouter) => void {
  const parts = (): UploadServiceParts => {
    const found = begun()
    if (found !== undefined) return found
    throw new ConnectError('The peer is starting', Code.Unavailable)
  }
  const sync = (request: PiecesRequest, context: HandlerContext): AsyncGenerator<PieceTold> =>
    syncPieces(parts(), request, context)
  return (router) => {
    rdmaRoutes(() => parts().rdma)(router)
    router.service(DfdaemonUpload, {
      exchangeIBVerbsQueuePairEndpoint: ({ endpoint }, context) =>
        exchangeQueuePair(parts().rdma, endpoint, context),
      syncPieces: sync,
      syncPersistentPieces: sync,
      syncPersistentCachePieces: sync,
      syncHost: (_request, context) => syncHost(parts(), context),
      downloadTask: ({ download }, context) => parts().trigger.download(download, context.signal),
      downloadPersistentCacheTask: (request, context) =>
        parts().trigger.replicate(request, context.signal),
      updatePersistentCacheTask: async ({ taskId, persistent }) => {
        const { task } = kept(parts().tasks, taskId)
        // A download is this host's own: nobody pins it from outside.
        if (task.record.kind !== 'persistentCache') throw notFound()
        await task.update({ persistent })
        return create(EmptySchema)
      },
      statTask: async ({ taskId }, context) => {
        const known = await parts().world.scheduler.statTask(taskId, context.signal)
        if (known === undefined) throw notFound()
        return taskAnswer(known)
      },
      statPersistentCacheTask: async ({ taskId }, context) => {
        const known = await parts().world.scheduler.statPersistentCacheTask(taskId, context.signal)
        if (known === undefined) throw notFound()
        return cacheTaskAnswer(known)
      },
      statLocalTask: ({ taskId }) => {
        const { task } = kept(parts().tasks, taskId)
        const { geometry, record } = task
        const finished = task.complete ? { finishedAt: timestampFromMs(task.usedAt) } : {}
        return {
          taskId,
          pieceLength: BigInt(geometry.pieceLength),
          contentLength: BigInt(geometry.contentLength),
          createdAt: timestampFromMs(record.createdAt),
          updatedAt: timestampFromMs(task.usedAt),
          ...finished,
        }
      },
      deleteTask: async ({ taskId }, { signal }) => {
        refuseDelete(parts(), 'DeleteTask')
        await removeKnownTask(parts(), taskId, 'standard', signal)
        return create(EmptySchema)
      },
      // Of these kinds one that is not here is no failure, as upstream: the scheduler deletes without asking first.
      deletePersistentTask: async ({ taskId }, { signal }) => {
        refuseDelete(parts(), 'DeletePersistentTask')
        await removeTask(parts(), taskId, 'persistent', signal)
        return create(EmptySchema)
      },
      deletePersistentCacheTask: async ({ taskId }, { signal }) => {
        refuseDelete(parts(), 'DeletePersistentCacheTask')
        await removeTask(parts(), taskId, 'persistentCache', signal)
        return create(EmptySchema)
      },
    })
  }
}

/** One message of the three SyncPieces methods. */
interface PieceTold {
  number: number
  offset: bigint
  length: bigint
  ip: string
  tcpPort?: number
  ownDigest?: string
  ownVersion?: string
  ownMore: { number: number; offset: bigint; length: bigint; digest?: string }[]
}

async function* syncHost(
  parts: UploadServiceParts,
  context: HandlerContext,
): AsyncGenerator<Host, void, undefined> {
  using scope = new Scope([parts.closing, context.signal])
  yield* hostNews(parts.hostNews, scope.signal)
}

async function* syncPieces(
  { world, tasks, closing }: UploadServiceParts,
  request: PiecesRequest,
  context: HandlerContext,
): AsyncGenerator<PieceTold, void, undefined> {
  const { taskId, interestedPieceNumbers: numbers } = request
  if (numbers.length > pieceCountMax) {
    throw new ConnectError('Too many piece numbers', Code.InvalidArgument)
  }
  const { task } = kept(tasks, taskId)
  const wanted = context.requestHeader.get(validatorHeader)
  const held = versionOf(task.record)
  if (wanted !== null && held !== undefined && wanted !== held) {
    throw new ConnectError('Another version of the content is kept here', Code.FailedPrecondition)
  }
  const child = textOf(context.requestHeader.get(peerIdHeader) ?? '', idLengthMax)
  if (child !== undefined) tasks.meet(taskId, child)
  const { ip, tcpPort } = world.host
  using scope = new Scope([closing, context.signal])
  const countMax = request.ownSeveral ? toldAtOnceMax : 1
  const news = pieceNewsInParts(task, numbers, tasks.ending(taskId), scope.signal, countMax)
  for (;;) {
    const next = await news.next()
    if (next.done === true) {
      if (next.value === 'dropped') throw new ConnectError('Task was dropped', Code.NotFound)
      return
    }
    const [first, ...ownMore] = next.value.map((piece) => ownPiece(task, piece))
    if (first === undefined) continue
    // By these two a child sees whether the piece that it reads later is still the one that was told of. Other implementations ignore them.
    const { digest: ownDigest, ...place } = first
    const ownVersion = versionOf(task.record)
    yield {
      ...place,
      ip,
      ...(tcpPort === undefined ? {} : { tcpPort }),
      ...(ownDigest === undefined ? {} : { ownDigest }),
      ...(ownVersion === undefined ? {} : { ownVersion }),
      ownMore,
    }
  }
}

function ownPiece(task: KeptTask, { number, offset, length }: Piece): PieceTold['ownMore'][number] {
  const digest = task.digestOf(number)
  const place = { number, offset: BigInt(offset), length: BigInt(length) }
  return digest === undefined ? place : { ...place, digest }
}

function kept(tasks: Tasks, taskId: string): NonNullable<ReturnType<Tasks['find']>> {
  const found = isTaskId(taskId) ? tasks.find(taskId) : undefined
  if (found === undefined) throw notFound()
  return found
}

function notFound(): ConnectError {
  return new ConnectError('task not found', Code.NotFound)
}

function refuseDelete({ world }: UploadServiceParts, method: string): void {
  try {
    permitDelete(world.settings.tls, method)
  } catch (error) {
    throw triggerError(error)
  }
}

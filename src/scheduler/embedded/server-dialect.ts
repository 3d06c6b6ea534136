import type { MessageInitShape } from '@bufbuild/protobuf'

import { idLengthMax, textOf } from '../../rpc/convert.ts'
import { listLengthMax, wantedOf } from '../../rpc/convert-task.ts'
import type { Download, Piece } from '../../rpc/gen/common/v2/common_pb.ts'
import type {
  AnnouncePeerRequest,
  AnnouncePeerResponseSchema,
  AnnouncePersistentCachePeerRequest,
  AnnouncePersistentCachePeerResponseSchema,
  DownloadPieceFailedRequest,
} from '../../rpc/gen/scheduler/v2/scheduler_pb.ts'
import type { TaskKind } from '../../task/kind.ts'
import { reportsMax } from '../report-queue.ts'
import { cachePeerMessage, cacheTaskMessage, peerMessage, taskMessage } from './messages.ts'
import type { Verdict } from './verdict.ts'
import type { PeerWish } from './records.ts'
import { type TaskLabels, publicUrl } from './task-labels.ts'

/** What a child says, in our terms. */
export type PeerEvent =
  | {
      readonly is: 'register'
      readonly wish: PeerWish
      /** Undefined for a kind whose labels come with the import. */
      readonly labels: TaskLabels | undefined
      readonly metadataOnly: boolean
      /** It keeps one of the copies that the importer asked for. */
      readonly persistent: boolean
      /** As it came, for a seed. */
      readonly download: Download | undefined
    }
  | { readonly is: 'started' }
  | { readonly is: 'sourceStarted' }
  | { readonly is: 'reschedule'; readonly parentIds: readonly string[] }
  | { readonly is: 'piece'; readonly numbers: readonly number[]; readonly parentId: string }
  | { readonly is: 'pieceFailed'; readonly parentId: string }
  | { readonly is: 'alive' }
  | { readonly is: 'done'; readonly source: boolean }
  | { readonly is: 'failed'; readonly source: boolean; readonly reason: string }

/** The names that every message carries. */
export interface Names {
  readonly hostId: string
  readonly taskId: string
  readonly peerId: string
}

/** How one kind is announced, seen from the scheduler. */
export interface ServerDialect<Request extends Names, Response> {
  readonly kind: TaskKind
  /** A text says what is wrong with a message that cannot be used. */
  read(request: Request): PeerEvent | string
  /** Undefined for a verdict that this kind has no words for. */
  write(verdict: Verdict): Response | undefined
}

type StandardResponse = MessageInitShape<typeof AnnouncePeerResponseSchema>
type CacheResponse = MessageInitShape<typeof AnnouncePersistentCachePeerResponseSchema>

/** Standard tasks: AnnouncePeer. */
export const standardDialect: ServerDialect<AnnouncePeerRequest, StandardResponse> = {
  kind: 'standard',
  read({ request }) {
    switch (request.case) {
      case 'registerPeerRequest':
        return register(request.value.download)
      case 'downloadPeerStartedRequest':
        return { is: 'started' }
      case 'downloadPeerBackToSourceStartedRequest':
        return { is: 'sourceStarted' }
      case 'reschedulePeerRequest':
        return reschedule(request.value.candidateParents)
      case 'downloadPeerFinishedRequest':
        return { is: 'done', source: false }
      case 'downloadPeerBackToSourceFinishedRequest':
        return { is: 'done', source: true }
      case 'downloadPeerFailedRequest':
        return { is: 'failed', source: false, reason: reasonOf(request.value) }
      case 'downloadPeerBackToSourceFailedRequest':
        return { is: 'failed', source: true, reason: reasonOf(request.value) }
      case 'downloadPieceFinishedRequest':
      case 'downloadPieceBackToSourceFinishedRequest':
        return piece(request.value)
      case 'downloadPieceFailedRequest':
        return pieceFailed(request.value)
      case 'downloadPieceBackToSourceFailedRequest':
        return { is: 'alive' }
      case undefined:
        break
    }
    return 'The message says nothing that is known here'
  },
  write(verdict): StandardResponse | undefined {
    switch (verdict.is) {
      case 'empty':
        return { response: { case: 'emptyTaskResponse', value: {} } }
      case 'metadata':
        return { response: { case: 'metadataOnlyResponse', value: {} } }
      case 'source':
        return {
          response: {
            case: 'needBackToSourceResponse',
            value: { description: verdict.reason },
          },
        }
      case 'parents': {
        const [first] = verdict.parents
        const task = first === undefined ? {} : taskMessage(first.task)
        const candidateParents = verdict.parents.map((parent) => peerMessage(parent, task))
        return {
          response: { case: 'normalTaskResponse', value: { candidateParents, ownSeveral: true } },
        }
      }
      case 'refused':
        break
    }
    return undefined
  },
}

/** Persistent cache tasks: AnnouncePersistentCachePeer. */
export const cacheDialect: ServerDialect<AnnouncePersistentCachePeerRequest, CacheResponse> = {
  kind: 'persistentCache',
  read({ request }) {
    switch (request.case) {
      case 'registerPersistentCachePeerRequest':
        return {
          is: 'register',
          wish: {
            never: true,
            needBackToSource: false,
            priority: 0,
            concurrency: request.value.concurrentPieceCount ?? 0,
          },
          labels: undefined,
          metadataOnly: false,
          persistent: request.value.persistent,
          download: undefined,
        }
      case 'downloadPersistentCachePeerStartedRequest':
        return { is: 'started' }
      case 'reschedulePersistentCachePeerRequest':
        return reschedule(request.value.candidateParents)
      case 'downloadPersistentCachePeerFinishedRequest':
        return { is: 'done', source: false }
      case 'downloadPersistentCachePeerFailedRequest':
        return { is: 'failed', source: false, reason: reasonOf(request.value) }
      case 'downloadPieceFinishedRequest':
        return piece(request.value)
      case 'downloadPieceFailedRequest':
        return pieceFailed(request.value)
      case undefined:
        break
    }
    return 'The message says nothing that is known here'
  },
  write(verdict): CacheResponse | undefined {
    switch (verdict.is) {
      case 'empty':
        return { response: { case: 'emptyPersistentCacheTaskResponse', value: {} } }
      case 'parents': {
        const [first] = verdict.parents
        const task = first === undefined ? {} : cacheTaskMessage(first.task)
        const candidateCacheParents = verdict.parents.map((parent) =>
          cachePeerMessage(parent, task),
        )
        return {
          response: {
            case: 'normalPersistentCacheTaskResponse',
            value: { candidateCacheParents, ownSeveral: true },
          },
        }
      }
      case 'metadata':
      case 'source':
      case 'refused':
        break
    }
    return undefined
  },
}

function register(download: Download | undefined): PeerEvent | string {
  const wanted = wantedOf(download)
  if (typeof wanted === 'string') return wanted
  const { spec } = wanted
  if (spec.kind !== 'standard') return 'Only standard tasks are announced here'
  const url = publicUrl(spec.url)
  return {
    is: 'register',
    wish: {
      never: wanted.backToSource === 'never',
      needBackToSource: wanted.needBackToSource,
      priority: spec.priority,
      concurrency: wanted.concurrency ?? 0,
      ...(wanted.range === undefined ? {} : { range: wanted.range }),
      ...(wanted.geometry === undefined ? {} : { geometry: wanted.geometry }),
    },
    labels: {
      filteredQueryParams: spec.filteredQueryParams,
      ...(url === undefined ? {} : { url }),
      ...(spec.tag === undefined ? {} : { tag: spec.tag }),
      ...(spec.application === undefined ? {} : { application: spec.application }),
      ...(spec.digest === undefined ? {} : { digest: spec.digest }),
    },
    metadataOnly: wanted.metadataOnly,
    persistent: false,
    download,
  }
}

function reschedule(candidates: readonly { readonly id: string }[]): PeerEvent {
  return { is: 'reschedule', parentIds: candidates.slice(0, listLengthMax).map(({ id }) => id) }
}

function piece({
  piece: told,
  ownNumbers = [],
}: {
  readonly piece?: Piece | undefined
  readonly ownNumbers?: readonly number[]
}): PeerEvent {
  if (told === undefined) return { is: 'alive' }
  const numbers = [told.number, ...ownNumbers.slice(0, reportsMax)]
  return { is: 'piece', numbers, parentId: textOf(told.parentId, idLengthMax) ?? '' }
}

function pieceFailed({ parentId, temporary }: DownloadPieceFailedRequest): PeerEvent {
  return temporary ? { is: 'pieceFailed', parentId } : { is: 'alive' }
}

function reasonOf({ description }: { readonly description?: string | undefined }): string {
  return description?.slice(0, 256) ?? ''
}

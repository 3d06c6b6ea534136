import type { MessageInitShape } from '@bufbuild/protobuf'
import type { CallOptions, Client } from '@connectrpc/connect'

import { shortText } from '../rpc/convert.ts'
import { type Candidate, candidatesOf, pieceMessage } from '../rpc/convert-peer.ts'
import { cacheRegistrationMessage, downloadMessage } from '../rpc/convert-task.ts'
import type { Peer, PersistentCachePeer } from '../rpc/gen/common/v2/common_pb.ts'
import type {
  AnnouncePeerRequestSchema,
  AnnouncePeerResponse,
  AnnouncePersistentCachePeerRequestSchema,
  AnnouncePersistentCachePeerResponse,
  Scheduler,
} from '../rpc/gen/scheduler/v2/scheduler_pb.ts'
import type { TaskKind } from '../task/kind.ts'
import type { Answer, PieceReport, Registration, SessionEnd } from '../task/ports.ts'

/** What a session says to a scheduler, in our terms. */
export type Said =
  | { readonly is: 'register'; readonly registration: Registration }
  | { readonly is: 'started' }
  | { readonly is: 'sourceStarted' }
  | {
      readonly is: 'reschedule'
      /** As they came, in the answer that named them. */
      readonly candidates: readonly Candidate[]
      readonly reason: string
    }
  /** `also`: numbers of other pieces that came from the same parent. */
  | { readonly is: 'piece'; readonly report: PieceReport; readonly also: readonly number[] }
  /** Without a parent it was the origin that failed. */
  | { readonly is: 'pieceFailed'; readonly number: number; readonly parentId: string }
  | { readonly is: 'end'; readonly how: SessionEnd }

/** What a scheduler said. */
export interface Heard {
  readonly answer: Answer
  /** The candidates behind the parents of the answer, by peer id. */
  readonly candidates: ReadonlyMap<string, Candidate>
  /** Whether it takes reports of several pieces at once. */
  readonly several: boolean
}

/** How one kind of task is announced. */
export interface Dialect {
  /** For errors. */
  readonly method: string
  /** A second `started` after a reschedule would break the rules of the Go scheduler (controlplane 5.5). */
  readonly startsOnce: boolean
  /** Opens the stream. An answer that cannot be read is undefined. */
  call(
    client: Client<typeof Scheduler>,
    name: StreamName,
    said: AsyncIterable<Said>,
    options: CallOptions,
  ): AsyncIterable<Heard | undefined>
}

/** What each message of a stream carries. */
export interface StreamName {
  readonly hostId: string
  readonly taskId: string
  readonly peerId: string
}

/** One row per kind that can be announced. */
export const dialects: Readonly<Partial<Record<TaskKind, Dialect>>> = Object.freeze({
  standard: {
    method: 'AnnouncePeer',
    startsOnce: false,
    call: (client, name, said, options) =>
      decoded(client.announcePeer(encoded(said, name, standardRequest), options), standardAnswer),
  },
  persistentCache: {
    method: 'AnnouncePersistentCachePeer',
    startsOnce: true,
    call: (client, name, said, options) =>
      decoded(
        client.announcePersistentCachePeer(encoded(said, name, cacheRequest), options),
        cacheAnswer,
      ),
  },
} satisfies Partial<Record<TaskKind, Dialect>>)

type StandardRequest = NonNullable<MessageInitShape<typeof AnnouncePeerRequestSchema>['request']>
type CacheRequest = NonNullable<
  MessageInitShape<typeof AnnouncePersistentCachePeerRequestSchema>['request']
>

async function* encoded<R>(
  said: AsyncIterable<Said>,
  name: StreamName,
  encode: (said: Said) => R | undefined,
): AsyncGenerator<StreamName & { readonly request: R }> {
  for await (const one of said) {
    const request = encode(one)
    if (request !== undefined) yield { ...name, request }
  }
}

async function* decoded<M>(
  messages: AsyncIterable<M>,
  decode: (message: M) => Heard | undefined,
): AsyncGenerator<Heard | undefined> {
  for await (const message of messages) yield decode(message)
}

function standardRequest(said: Said): StandardRequest | undefined {
  switch (said.is) {
    case 'register':
      return {
        case: 'registerPeerRequest',
        value: { download: downloadMessage(said.registration) },
      }
    case 'started':
      return { case: 'downloadPeerStartedRequest', value: {} }
    case 'sourceStarted':
      return { case: 'downloadPeerBackToSourceStartedRequest', value: {} }
    case 'reschedule':
      return {
        case: 'reschedulePeerRequest',
        value: {
          candidateParents: said.candidates as Peer[],
          description: shortText(said.reason),
        },
      }
    case 'piece': {
      const piece = pieceMessage(said.report)
      return said.report.traffic === 'source'
        ? { case: 'downloadPieceBackToSourceFinishedRequest', value: { piece } }
        : { case: 'downloadPieceFinishedRequest', value: { piece, ownNumbers: [...said.also] } }
    }
    case 'pieceFailed':
      return said.parentId === ''
        ? {
            case: 'downloadPieceBackToSourceFailedRequest',
            value: {
              pieceNumber: said.number,
              response: { case: 'unknown', value: { message: 'The origin failed' } },
            },
          }
        : { case: 'downloadPieceFailedRequest', value: pieceFailure(said) }
    case 'end':
      break
  }
  return standardEnd(said.how)
}

function standardEnd(how: SessionEnd): StandardRequest {
  if (how.is === 'done') {
    return how.source
      ? { case: 'downloadPeerBackToSourceFinishedRequest', value: {} }
      : { case: 'downloadPeerFinishedRequest', value: {} }
  }
  const description = shortText(how.reason)
  return how.source
    ? { case: 'downloadPeerBackToSourceFailedRequest', value: { description } }
    : { case: 'downloadPeerFailedRequest', value: { description } }
}

/** This kind has no origin, so there is nothing to say about one. */
function cacheRequest(said: Said): CacheRequest | undefined {
  switch (said.is) {
    case 'register':
      return {
        case: 'registerPersistentCachePeerRequest',
        value: cacheRegistrationMessage(said.registration),
      }
    case 'started':
      return { case: 'downloadPersistentCachePeerStartedRequest', value: {} }
    case 'sourceStarted':
      return undefined
    case 'reschedule':
      return {
        case: 'reschedulePersistentCachePeerRequest',
        value: {
          candidateParents: said.candidates as PersistentCachePeer[],
          description: shortText(said.reason),
        },
      }
    case 'piece':
      return {
        case: 'downloadPieceFinishedRequest',
        value: { piece: pieceMessage(said.report), ownNumbers: [...said.also] },
      }
    case 'pieceFailed':
      return said.parentId === ''
        ? undefined
        : { case: 'downloadPieceFailedRequest', value: pieceFailure(said) }
    case 'end':
      break
  }
  return said.how.is === 'done'
    ? { case: 'downloadPersistentCachePeerFinishedRequest', value: {} }
    : {
        case: 'downloadPersistentCachePeerFailedRequest',
        value: { description: shortText(said.how.reason) },
      }
}

function pieceFailure(said: Said & { is: 'pieceFailed' }) {
  return { pieceNumber: said.number, parentId: said.parentId, temporary: true }
}

function standardAnswer({ response }: AnnouncePeerResponse): Heard | undefined {
  switch (response.case) {
    case 'emptyTaskResponse':
      return plain({ is: 'empty' })
    case 'normalTaskResponse':
      return parents(response.value.candidateParents, response.value.ownSeveral)
    case 'needBackToSourceResponse':
      return plain({ is: 'source' })
    case 'metadataOnlyResponse':
      return plain({ is: 'metadata' })
    case undefined:
      break
  }
  return undefined
}

function cacheAnswer({ response }: AnnouncePersistentCachePeerResponse): Heard | undefined {
  switch (response.case) {
    case 'emptyPersistentCacheTaskResponse':
      return plain({ is: 'empty' })
    case 'normalPersistentCacheTaskResponse':
      return parents(response.value.candidateCacheParents, response.value.ownSeveral)
    case undefined:
      break
  }
  return undefined
}

function plain(answer: Answer): Heard {
  return { answer, candidates: new Map(), several: false }
}

function parents(list: readonly Candidate[], several: boolean): Heard {
  const { parents: found, messages, contentLength } = candidatesOf(list)
  return {
    answer: {
      is: 'parents',
      parents: found,
      ...(contentLength === undefined ? {} : { contentLength }),
    },
    candidates: messages,
    several,
  }
}

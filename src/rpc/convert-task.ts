import type { MessageInitShape } from '@bufbuild/protobuf'

import { sharedQueryParams } from '../hash/task-url.ts'
import type { TaskKind } from '../task/kind.ts'
import type { Geometry, Range } from '../task/piece.ts'
import type { Registration, TaskSpec } from '../task/ports.ts'
import {
  idLengthMax,
  millisOf,
  present,
  textLengthMax,
  textOf,
  u32,
  u64,
  urlLengthMax,
  wholeOf,
} from './convert.ts'
import {
  type Download,
  type DownloadSchema,
  type PersistentCacheTask,
  type Piece,
  Priority,
  type Task,
  TaskType,
} from './gen/common/v2/common_pb.ts'
import type { RegisterPersistentCachePeerRequestSchema } from './gen/scheduler/v2/scheduler_pb.ts'

/** Headers, and names of query parameters, that are taken from one message. */
export const listLengthMax = 256

const typeOfKind: Readonly<Record<TaskKind, TaskType>> = {
  standard: TaskType.STANDARD,
  persistent: TaskType.PERSISTENT,
  persistentCache: TaskType.PERSISTENT_CACHE,
}

/**
 * A registration as the wire's `Download`.
 *
 * The `actual_*` fields are always set: without them a Go scheduler takes the task for an empty one, for everybody and for good (controlplane, fact 3).
 * A length that is not known is sent as 2⁶⁴ − 1, which it takes for unknown (seen on v2.5.1).
 * For `never` the priority is LEVEL3: a Go scheduler, which does not read `disable_back_to_source`, then triggers no seed peer for it.
 */
export function downloadMessage(
  registration: Registration,
): MessageInitShape<typeof DownloadSchema> {
  const { spec, geometry, range } = registration
  const never = registration.backToSource === 'never'
  return {
    url: spec.url ?? '',
    type: typeOfKind[spec.kind],
    priority: never ? Priority.LEVEL3 : priorityOf(spec.priority),
    filteredQueryParams: [...spec.filteredQueryParams],
    // Nobody is sent to the origin for this download, so nobody needs the credentials.
    requestHeader: never ? {} : { ...spec.headers },
    disableBackToSource: never,
    needBackToSource: registration.needBackToSource && !never,
    metadataOnly: registration.metadataOnly,
    concurrentPieceCount: u32(registration.concurrency),
    ...present({ digest: spec.digest, tag: spec.tag, application: spec.application }),
    ...(spec.pieceLength === undefined ? {} : { pieceLength: u64(spec.pieceLength) }),
    ...(range === undefined
      ? {}
      : { range: { start: u64(range.start), length: u64(range.length) } }),
    ...(geometry === undefined ? unknownFields : actualFields(geometry)),
  }
}

const unknown = 2n ** 64n - 1n
const unknownFields = { actualContentLength: unknown, actualPieceCount: unknown }

function actualFields(geometry: Geometry) {
  return {
    actualContentLength: u64(geometry.contentLength),
    actualPieceLength: u64(geometry.pieceLength),
    actualPieceCount: u64(geometry.pieceCount),
  }
}

function priorityOf(level: number): Priority {
  return (Number.isInteger(level) && level >= 0 && level <= 6 ? level : 0) as Priority
}

/** A registration for a persistent cache task, whose length the scheduler knows from the import. */
export function cacheRegistrationMessage(
  registration: Registration,
): MessageInitShape<typeof RegisterPersistentCachePeerRequestSchema> {
  const { spec, geometry } = registration
  return {
    persistent: registration.persistent ?? false,
    pieceLength: u64(geometry?.pieceLength ?? spec.pieceLength ?? 0),
    pieceCount: u64(geometry?.pieceCount ?? 0),
    concurrentPieceCount: u32(registration.concurrency),
    ...present({ tag: spec.tag, application: spec.application }),
  }
}

/** What a `Download` asks for. */
export interface Wanted {
  readonly spec: Omit<TaskSpec, 'id'>
  readonly range?: Range
  /** What the asking peer found at the origin; undefined when it did not say, or what it said is not consistent. */
  readonly geometry?: Geometry
  readonly needBackToSource: boolean
  readonly backToSource: 'allow' | 'never'
  readonly metadataOnly: boolean
  readonly concurrency?: number
}

/** Reads a `Download`; a text says what is wrong with one that cannot be used. */
export function wantedOf(download: Download | undefined): Wanted | string {
  if (download === undefined) return 'The download is missing'
  if (download.url.length > urlLengthMax) return 'The url is too long'
  const kind = kindOf(download.type)
  if (kind === undefined) return 'The type of the task is unknown'
  const headers = Object.entries(download.requestHeader)
  if (headers.length > listLengthMax || download.filteredQueryParams.length > listLengthMax) {
    return `There are more than ${listLengthMax} headers or filtered query parameters`
  }
  return {
    spec: {
      kind,
      filteredQueryParams: sharedQueryParams(download.filteredQueryParams),
      headers: Object.fromEntries(headers),
      priority: priorityOf(download.priority),
      ...present({
        url: textOf(download.url, urlLengthMax),
        digest: textOf(download.digest, textLengthMax),
        tag: textOf(download.tag, textLengthMax),
        application: textOf(download.application, textLengthMax),
        // 0 is how some tools leave it open.
        pieceLength: wholeOf(download.pieceLength) || undefined,
      }),
    },
    needBackToSource: download.needBackToSource,
    backToSource: download.disableBackToSource ? 'never' : 'allow',
    metadataOnly: download.metadataOnly,
    ...present({
      range: rangeOf(download.range),
      geometry: geometryOf(download),
      concurrency: download.concurrentPieceCount,
    }),
  }
}

function kindOf(type: TaskType): TaskKind | undefined {
  if (type === TaskType.STANDARD) return 'standard'
  if (type === TaskType.PERSISTENT) return 'persistent'
  return type === TaskType.PERSISTENT_CACHE ? 'persistentCache' : undefined
}

function rangeOf(range: Download['range']): Range | undefined {
  const start = wholeOf(range?.start)
  const length = wholeOf(range?.length)
  return start === undefined || length === undefined || length === 0 ? undefined : { start, length }
}

/** Missing is unknown, never empty: only a length of 0 that was sent is one. */
function geometryOf(download: Download): Geometry | undefined {
  const contentLength = wholeOf(download.actualContentLength)
  if (contentLength === undefined) return undefined
  if (contentLength === 0) return { contentLength, pieceLength: 1, pieceCount: 0 }
  const pieceLength = wholeOf(download.actualPieceLength)
  if (pieceLength === undefined || pieceLength === 0) return undefined
  const pieceCount = Math.ceil(contentLength / pieceLength)
  const told = wholeOf(download.actualPieceCount) ?? pieceCount
  return told === pieceCount ? { contentLength, pieceLength, pieceCount } : undefined
}

/** What a scheduler knows about a standard task. */
export interface TaskFacts {
  readonly id: string
  /** May hold credentials. */
  readonly url?: string
  readonly digest?: string
  readonly tag?: string
  readonly application?: string
  readonly filteredQueryParams: readonly string[]
  /** Request headers for the origin. Secret. */
  readonly headers: Readonly<Record<string, string>>
  /** Bytes; undefined when the scheduler does not know it. */
  readonly contentLength?: number
  /** Bytes, worked out from the pieces that were told; undefined when none says it. */
  readonly pieceLength?: number
  readonly pieceCount?: number
  /** Name of the scheduler's state, such as `Running`. */
  readonly state: string
  readonly peerCount: number
}

/** Reads a `Task`. */
export function taskFacts(task: Task): TaskFacts {
  const contentLength = wholeOf(task.contentLength)
  return {
    id: task.id,
    filteredQueryParams: sharedQueryParams(task.filteredQueryParams.slice(0, listLengthMax)),
    headers: Object.fromEntries(Object.entries(task.requestHeader).slice(0, listLengthMax)),
    state: textOf(task.state, textLengthMax) ?? '',
    peerCount: task.peerCount,
    ...present({
      url: textOf(task.url, urlLengthMax),
      digest: textOf(task.digest, textLengthMax),
      tag: textOf(task.tag, textLengthMax),
      application: textOf(task.application, textLengthMax),
      contentLength,
      pieceLength: pieceLengthOf(task.pieces, contentLength),
      // Beside an unknown length it means nothing, and 0 is how a Go scheduler says that it does not know.
      pieceCount: countOf(task.pieceCount, contentLength),
    }),
  }
}

function countOf(pieceCount: number, contentLength: number | undefined): number | undefined {
  if (contentLength === undefined) return undefined
  return pieceCount > 0 || contentLength === 0 ? pieceCount : undefined
}

/** The wire has no field for it, but any piece that is not the last shows it, and so does the offset of any but the first. */
function pieceLengthOf(
  pieces: readonly Piece[],
  contentLength: number | undefined,
): number | undefined {
  for (const piece of pieces.slice(0, listLengthMax)) {
    const offset = wholeOf(piece.offset)
    const length = wholeOf(piece.length)
    if (offset === undefined || length === undefined || length === 0) continue
    if (piece.number > 0) {
      const pieceLength = offset / piece.number
      if (Number.isSafeInteger(pieceLength) && pieceLength >= length) return pieceLength
    } else if (offset === 0 && contentLength !== undefined && length < contentLength) {
      return length
    }
  }
  return undefined
}

/** What a scheduler knows about a persistent cache task. */
export interface CacheTaskFacts {
  readonly id: string
  readonly tag?: string
  readonly application?: string
  readonly contentLength?: number
  readonly pieceLength?: number
  readonly pieceCount: number
  readonly state: string
  readonly ttlMs?: number
  /** Wall-clock milliseconds. */
  readonly createdAt?: number
  /** Wall-clock milliseconds of the last change that the scheduler knows of. */
  readonly updatedAt?: number
  /** Copies that were asked for, copies of that sort that there are, and copies of any sort. */
  readonly replicas: {
    readonly wanted: number
    readonly persistent: number
    readonly all: number
  }
}

/** Reads a `PersistentCacheTask`. */
export function cacheTaskFacts(task: PersistentCacheTask): CacheTaskFacts {
  return {
    id: textOf(task.id, idLengthMax) ?? '',
    pieceCount: task.pieceCount,
    state: textOf(task.state, textLengthMax) ?? '',
    replicas: {
      wanted: wholeOf(task.persistentReplicaCount) ?? 0,
      persistent: wholeOf(task.currentPersistentReplicaCount) ?? 0,
      all: wholeOf(task.currentReplicaCount) ?? 0,
    },
    ...present({
      tag: textOf(task.tag, textLengthMax),
      application: textOf(task.application, textLengthMax),
      contentLength: wholeOf(task.contentLength),
      pieceLength: wholeOf(task.pieceLength) || undefined,
      ttlMs: millisOf(task.ttl),
      createdAt: millisOf(task.createdAt),
      updatedAt: millisOf(task.updatedAt),
    }),
  }
}

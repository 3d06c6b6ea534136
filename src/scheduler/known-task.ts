import type { CacheTaskFacts, TaskFacts } from '../rpc/convert-task.ts'
import { type Geometry, geometry, pieceCountMax, pieceLengthFor } from '../task/piece.ts'
import type { TaskSpec } from '../task/ports.ts'

/** What a scheduler knows about a task. */
export interface KnownTask {
  readonly spec: TaskSpec
  /** Undefined when the scheduler does not know the length, or the piece length cannot be told from what it said. */
  readonly geometry?: Geometry
  /** Name of the scheduler's state, such as `Running` or `Succeeded`. */
  readonly state: string
  /** Peers that have or get it. */
  readonly peerCount: number
}

/** What a scheduler knows about a persistent cache task. */
export interface KnownCacheTask extends KnownTask {
  /** Wall-clock milliseconds. */
  readonly createdAt?: number
  /** Wall-clock milliseconds. */
  readonly updatedAt?: number
  /** Copies that were asked for, copies of that sort that there are, and copies of any sort. */
  readonly replicas: { readonly wanted: number; readonly persistent: number; readonly all: number }
}

/** A standard task in the engine's terms. */
export function knownTask(facts: TaskFacts): KnownTask {
  const cut = cutOf(facts)
  return {
    spec: {
      id: facts.id,
      kind: 'standard',
      filteredQueryParams: facts.filteredQueryParams,
      headers: facts.headers,
      priority: 0,
      ...chosenLength(cut),
      ...(facts.url === undefined ? {} : { url: facts.url }),
      ...(facts.digest === undefined ? {} : { digest: facts.digest }),
      ...(facts.tag === undefined ? {} : { tag: facts.tag }),
      ...(facts.application === undefined ? {} : { application: facts.application }),
    },
    ...(cut === undefined ? {} : { geometry: cut }),
    state: facts.state,
    peerCount: facts.peerCount,
  }
}

/** A persistent cache task in the engine's terms. */
export function knownCacheTask(facts: CacheTaskFacts): KnownCacheTask {
  const cut = cutOf(facts)
  return {
    spec: {
      id: facts.id,
      kind: 'persistentCache',
      filteredQueryParams: [],
      headers: {},
      priority: 0,
      ...chosenLength(cut),
      ...(facts.tag === undefined ? {} : { tag: facts.tag }),
      ...(facts.application === undefined ? {} : { application: facts.application }),
      ...(facts.ttlMs === undefined ? {} : { ttlMs: facts.ttlMs }),
      ...(facts.replicas.wanted === 0 ? {} : { replicas: facts.replicas.wanted }),
    },
    ...(cut === undefined ? {} : { geometry: cut }),
    state: facts.state,
    peerCount: facts.replicas.all,
    replicas: facts.replicas,
    ...(facts.createdAt === undefined ? {} : { createdAt: facts.createdAt }),
    ...(facts.updatedAt === undefined ? {} : { updatedAt: facts.updatedAt }),
  }
}

/**
 * The wire's Task has no piece length. It comes from a piece that was told; else the common rule is tried, and taken when it gives the number of pieces
 * that was told.
 */
function cutOf(facts: {
  readonly contentLength?: number
  readonly pieceLength?: number
  readonly pieceCount?: number
}): Geometry | undefined {
  const { contentLength, pieceCount } = facts
  if (contentLength === undefined) return undefined
  const pieceLength = facts.pieceLength ?? pieceLengthFor(contentLength)
  const count = Math.ceil(contentLength / pieceLength)
  if (count > pieceCountMax) return undefined
  if (facts.pieceLength === undefined && pieceCount !== count) return undefined
  return geometry(contentLength, pieceLength)
}

/** A piece length that the rule would not give was chosen by a user, and is a part of the task's identity. */
function chosenLength(cut: Geometry | undefined): { readonly pieceLength?: number } {
  if (cut === undefined || cut.pieceLength === pieceLengthFor(cut.contentLength)) return {}
  return { pieceLength: cut.pieceLength }
}

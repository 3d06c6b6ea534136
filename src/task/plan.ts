import type { Piece } from './piece.ts'

/** In the place of a parent's id: the origin. Ids of parents are never empty. */
export const originId: string = ''

/** What to do next. `parent` may be `originId`. */
export interface Plan {
  readonly piece: Piece
  readonly parent: string
}

/** How pieces come from the origin: not at all, each by its own request, or all in one stream that claims them in order. */
export type OriginMode = 'closed' | 'pieces' | 'stream'

/** Bounds of the planner. */
export interface PlannerLimits {
  /** Pieces asked of one parent at the same time. */
  readonly parentInFlightMax: number
  /** Pieces fetched at the same time: the only parent is asked for as many, up to `soleInFlightMax`. @defaultValue `parentInFlightMax` */
  readonly concurrency?: number
  /** Pieces asked of the origin at the same time. */
  readonly originInFlightMax: number
}

/** How many pieces are in which state. */
export interface PieceCounts {
  /** Wanted, and nobody is asked. */
  readonly waiting: number
  /** Of these: no parent that may be asked has them. */
  readonly unreachable: number
  /** Wanted and being fetched. */
  readonly fetching: number
  /** Kept. */
  readonly done: number
}

/** What the planner knows of a parent, as plain data. */
export interface ParentLoad {
  /** Pieces it told to have and did not refuse. */
  readonly haves: number
  readonly inFlight: number
  /** Bytes per millisecond of its last pieces, smoothed; 0 before the first. */
  readonly rate: number
}

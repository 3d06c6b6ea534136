import { PeerError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import { type Blame, blameFor, Standing } from './blame.ts'
import type { OriginAccess } from './origin-read.ts'
import { readInOrder } from './origin-stream.ts'
import type { Piece } from './piece.ts'
import { originId } from './plan.ts'
import type { Planner } from './planner.ts'
import type { Sink } from './ports.ts'

/** What the gate needs. `access` is undefined when the origin must not be used, or there is none. */
export interface GateWorld {
  readonly access: OriginAccess | undefined
  readonly ranges: boolean
  readonly sink: Sink
  readonly clock: Clock
  readonly pieceTimeoutMs: number
}

/** What the gate tells. */
export interface GateEvents {
  onBytes(): void
  /** The stream brought a piece. */
  onKept(piece: Piece, digest: string, costMs: number): void
  /** The stream ended before its end. */
  onFailed(error: unknown, startedAt: number): void
  onChange(): void
}

/**
 * Whether and how the origin is used in one run. Closed at first; opened once, by the scheduler's order or because nobody else can help.
 * An origin that gives parts is asked through the planner like a parent; one that does not is read in one stream at a time.
 */
export class OriginGate {
  readonly #world: GateWorld
  readonly #planner: Planner
  readonly #events: GateEvents
  readonly #signal: AbortSignal
  readonly #standing = new Standing()
  #opened = false
  #error: unknown
  #pass: Promise<void> | undefined

  constructor(world: GateWorld, planner: Planner, events: GateEvents, signal: AbortSignal) {
    this.#world = world
    this.#planner = planner
    this.#events = events
    this.#signal = signal
  }

  /** Whether there is one that may be used. */
  get allowed(): boolean {
    return this.#world.access !== undefined
  }

  /** Whether it may be opened: it is allowed, and not open yet. */
  get available(): boolean {
    return this.#world.access !== undefined && !this.#opened
  }

  /** Open, and not given up. */
  get hopeful(): boolean {
    return this.#opened && this.#standing.usable
  }

  /** Why the origin was given up; undefined while it was not. */
  get error(): unknown {
    return this.#standing.usable ? undefined : this.#error
  }

  /** When its pause ends; undefined when it is not paused. */
  get thawAt(): number | undefined {
    const { state } = this.#standing
    return state.is === 'paused' ? state.untilMs : undefined
  }

  /** How it stands, for `explain()`. */
  get state(): string {
    if (this.#world.access === undefined) return 'none'
    return this.#opened ? this.#standing.state.is : 'closed'
  }

  /** closed → open. False when it may not be. */
  open(): boolean {
    if (this.#world.access === undefined) return false
    this.#opened = true
    this.#setMode()
    return true
  }

  /** A piece came from it. */
  onSuccess(): void {
    this.#standing.onSuccess()
  }

  /** A read failed. Anything but a failure of our own counts against the origin, and its own word is kept for the case that nobody else can help. */
  onFailure(error: unknown, startedAt: number): Blame {
    if (!PeerError.is(error)) return 'local'
    // There is no second origin to turn to for one piece: a source that refuses one is asked again later, a bounded number of times.
    const code = blameFor(error.code) === 'refuse' ? 'FOREIGN' : error.code
    const blame = this.#standing.onFailure({ code, startedAt }, this.#world.clock.now())
    if (blame !== 'local') this.#error = error
    this.#setMode()
    return blame
  }

  /** Ends a pause whose time is over, and starts a pass of the stream when there is something that only the origin has. */
  advance(now: number): void {
    if (this.#standing.thaw(now)) this.#setMode()
    const { access, ranges } = this.#world
    if (ranges || !this.#opened || access === undefined || this.#pass !== undefined) return
    if (this.#standing.state.is !== 'live' || this.#planner.counts.unreachable === 0) return
    const pass = this.#read(access, now)
    this.#pass = pass
    void pass.then(() => {
      this.#pass = undefined
      this.#events.onChange()
    })
  }

  /** Resolves when no pass runs any more; the signal has been fired before. */
  async close(): Promise<void> {
    await this.#pass
  }

  async #read(access: OriginAccess, startedAt: number): Promise<void> {
    const { sink, clock, pieceTimeoutMs } = this.#world
    const planner = this.#planner
    try {
      await readInOrder(
        { access, sink, clock, pieceTimeoutMs },
        {
          wants: (number) => planner.counts.waiting > 0 && number <= planner.lastWanted,
          claim: (number) => planner.claim(number),
          onBytes: () => this.#events.onBytes(),
          onKept: (piece, digest, costMs) => this.#events.onKept(piece, digest, costMs),
          onFailed: (piece) => planner.onFailed(piece.number, false),
        },
        this.#signal,
      )
    } catch (error) {
      if (!this.#signal.aborted) this.#events.onFailed(error, startedAt)
    }
  }

  #setMode(): void {
    const usable = this.#opened && this.#standing.state.is === 'live'
    this.#planner.onOrigin(usable ? (this.#world.ranges ? 'pieces' : 'stream') : 'closed')
  }
}

/** How the origin is named where parents have ids and people read: in `explain()` and in hooks. */
export function shownParent(id: string): string {
  return id === originId ? 'origin' : id
}

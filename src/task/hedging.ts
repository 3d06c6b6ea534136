import type { Clock } from '../util/clock.ts'
import type { Scope } from '../util/scope.ts'
import { beaten, Hedge, hedgedPieceBytesMax, hedgedShareMax, type Slow } from './hedge.ts'
import { originId, type Plan } from './plan.ts'
import type { ParentAddress, PieceReader, Sink, Slot, TaskSpec } from './ports.ts'

/** How often it is looked whether a piece is slow to come at the end, in milliseconds. Nothing is slow before so long. */
const lookMs = 250

/** A job of the fetcher, as hedging sees it. */
export interface HedgedJob {
  readonly plan: Plan
  /** What it fills, and since when: from then on it waits for the first byte. */
  asked: { readonly slot: Slot; readonly at: number } | undefined
  /** Ends the read alone: the piece has come from somebody else. Undefined when nothing is read. */
  reading: Scope | undefined
  hedge: Hedge | undefined
  readonly stopped: unknown
}

/** What hedging works with. */
export interface HedgingWorld {
  readonly spec: TaskSpec
  readonly sink: Sink
  readonly reader: PieceReader
  readonly clock: Clock
  readonly jobs: ReadonlyMap<number, HedgedJob>
  /** Whether one more could be fetched. */
  readonly free: () => boolean
}

/** What hedging asks and tells. */
export interface HedgingEvents {
  /** The end game: whom else to ask for one of these pieces, the slowest first. It counts as asked until `onHedged`, or until the piece is here. */
  hedge(slow: readonly Slow[]): { readonly plan: Plan; readonly from: ParentAddress } | undefined
  /** The second fetch of this piece is over; `won`: the piece is of its parent. */
  onHedged(number: number, won: boolean): void
}

/** Asks a second parent for the slowest piece, when there is nothing else to do. One at a time, and a small part of the content in all. */
export class Hedging {
  readonly #world: HedgingWorld
  readonly #events: HedgingEvents
  #stopLooking: (() => void) | undefined
  /** Bytes of pieces that were asked of two at once. */
  #hedgedBytes = 0
  #wastedBytes = 0
  #running: Promise<void> = Promise.resolve()

  constructor(world: HedgingWorld, events: HedgingEvents) {
    this.#world = world
    this.#events = events
  }

  /** Bytes that came twice. */
  get wastedBytes(): number {
    return this.#wastedBytes
  }

  /** Resolves when no second fetch is open. */
  get settled(): Promise<void> {
    return this.#running
  }

  /** Looks from now on, as long as anything is fetched. */
  look(): void {
    this.#stopLooking ??= this.#world.clock.after(lookMs, () => {
      this.#stopLooking = undefined
      this.#begin()
      if (this.#world.jobs.size > 0) this.look()
    })
  }

  /** Looks no more. */
  stop(): void {
    this.#stopLooking?.()
    this.#stopLooking = undefined
  }

  /** The first parent was slower, with so many bytes. */
  onBeaten(byteCount: number): void {
    this.#wastedBytes += byteCount
  }

  #begin(): void {
    const { sink, jobs, free } = this.#world
    const all = [...jobs.values()]
    if (!free() || all.some(({ hedge, reading }) => hedge !== undefined && reading)) return
    const leftBytes = sink.geometry.contentLength * hedgedShareMax - this.#hedgedBytes
    const slow = all.flatMap((job) => this.#slow(job, Math.min(leftBytes, hedgedPieceBytesMax)))
    slow.sort((one, other) => (one.restMs === other.restMs ? 0 : other.restMs - one.restMs))
    const second = slow.length === 0 ? undefined : this.#events.hedge(slow)
    const job = second === undefined ? undefined : jobs.get(second.plan.piece.number)
    if (second === undefined || job === undefined) return
    this.#hedgedBytes += job.plan.piece.length
    job.hedge = new Hedge(job.plan.piece, second.plan.parent)
    this.#running = this.#run(job, job.hedge, second.from)
  }

  async #run(job: HedgedJob, hedge: Hedge, from: ParentAddress): Promise<void> {
    const { number } = job.plan.piece
    try {
      await hedge.run(this.#world, from)
      if (job.reading === undefined) return
      this.#events.onHedged(number, true)
      job.reading.abort(beaten)
    } catch {
      // It was only a second chance: the first parent's job goes on, and the next ordinary piece shows what is wrong with the second.
      this.#wastedBytes += hedge.filled
      if (this.#world.jobs.get(number) === job) this.#events.onHedged(number, false)
    }
  }

  /** A piece that comes from a parent and has not come for a while. */
  #slow({ plan, asked, reading, hedge, stopped }: HedgedJob, lengthMax: number): readonly Slow[] {
    const { piece, parent } = plan
    if (parent === originId || reading === undefined || hedge !== undefined || !asked) return []
    const { filled } = asked.slot
    const tookMs = this.#world.clock.now() - asked.at
    if (stopped !== undefined || piece.length > lengthMax || tookMs < lookMs) return []
    const restMs =
      filled === 0 ? Number.POSITIVE_INFINITY : (tookMs * (piece.length - filled)) / filled
    return [{ number: piece.number, restMs }]
  }
}

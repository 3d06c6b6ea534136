import PQueue from 'p-queue'
import { PeerError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import { Scope } from '../util/scope.ts'
import { type OriginAccess, originSilent, readPiece } from './origin-read.ts'
import type { Hedge } from './hedge.ts'
import { Hedging, type HedgedJob, type HedgingEvents } from './hedging.ts'
import { Patience, UsualSilence, WatchedSlot } from './patience.ts'
import type { Piece } from './piece.ts'
import { originId, type Plan } from './plan.ts'
import type { ParentAddress, PieceReader, Received, Sink, Slot, TaskSpec } from './ports.ts'

/** What fetching needs. */
export interface FetcherWorld {
  readonly spec: TaskSpec
  readonly sink: Sink
  readonly reader: PieceReader
  readonly access: OriginAccess | undefined
  readonly clock: Clock
}

/** Bounds of the fetcher. Times in milliseconds. */
export interface FetcherLimits {
  /** Jobs at the same time. */
  readonly concurrency: number
  /** First patience with a piece without a new byte; doubled each time that piece is taken from somebody. */
  readonly patienceMs: number
  /** Longest patience. */
  readonly pieceTimeoutMs: number
}

/** How a job ended. `dropped`: it was stopped from here, and nobody is to blame. Its slot is released in any case. */
export type Outcome =
  | {
      readonly is: 'kept'
      readonly piece: Piece
      readonly parent: string
      readonly digest: string
      readonly costMs: number
      /** Over which it came, where that is known. */
      readonly transport?: string
    }
  | {
      readonly is: 'failed'
      readonly piece: Piece
      readonly parent: string
      readonly error: unknown
      readonly startedAt: number
      /** Set when it was stopped because nothing came; see `Failure`. */
      readonly silence?: 'slow' | 'silent'
    }
  | { readonly is: 'dropped'; readonly piece: Piece; readonly parent: string }

/** What the fetcher asks and tells. */
export interface FetcherEvents extends HedgingEvents {
  /** Whether somebody else than this parent could be asked for the piece. */
  hasOther(number: number, parent: string): boolean
  /** Pieces that are better asked of somebody else now. `queued`: nothing of a piece has come for a while. */
  moves(queued: (number: number) => boolean): readonly number[]
  /** Whether the origin may be opened when nobody else can be asked. */
  hasResort(): boolean
  /** Bytes came for some piece that this parent, or the origin, was asked for. */
  onBytes(parent: string): void
  /** A piece has come from a parent and has this digest. Resolves when it may be kept. @throws PeerError ORIGIN_CHANGED when it is of another version */
  admit(parent: string, number: number, digest: string): Promise<void>
  /** A job ended, one way or another. */
  onOutcome(outcome: Outcome): void
}

interface Job extends HedgedJob {
  readonly scope: Scope
  readonly startedAt: number
  patience: Patience | undefined
  /** How long it may be quiet, once it has begun. */
  quietMs: number
  /** Why the job was stopped: its sender is to blame, or nobody. */
  stopped: Stop | undefined
}

type Stop =
  | { readonly is: 'withdrawn' }
  | { readonly is: 'slow' | 'silent'; readonly error: PeerError }

/** Milliseconds after which a piece without a byte stands in a queue: before that it may be on its way. */
const queuedMs = 50

const withdrawal: Stop = Object.freeze({ is: 'withdrawn' })

/** Why a job's signal fires when nobody is to blame. It never leaves this file. */
const withdrawn = new Error('The piece is not wanted from there any more')

/**
 * Fetches pieces: one job in a queue for each. A job takes a slot, lets it be filled, compares the digest and commits.
 *
 * The stall rule: when no byte came for `patienceMs` and somebody else can be asked, the job ends as PARENT_TIMEOUT and the patience with this
 * piece doubles, so that a piece does not go round for ever among busy parents. With nobody else it goes on for up to `pieceTimeoutMs`.
 */
export class Fetcher {
  readonly #world: FetcherWorld
  readonly #limits: FetcherLimits
  readonly #events: FetcherEvents
  readonly #queue: PQueue
  #concurrency: number
  readonly #jobs = new Map<number, Job>()
  /** Patience with pieces that were taken from somebody. An entry goes when its piece is kept. */
  readonly #patienceMs = new Map<number, number>()
  readonly #usual = new UsualSilence()
  readonly #hedging: Hedging

  constructor(world: FetcherWorld, limits: FetcherLimits, events: FetcherEvents) {
    this.#world = world
    this.#limits = limits
    this.#events = events
    this.#concurrency = limits.concurrency
    this.#queue = new PQueue({ concurrency: limits.concurrency })
    this.#hedging = new Hedging({ ...world, jobs: this.#jobs, free: () => this.free > 0 }, events)
  }

  /** How many jobs can be begun now. */
  get free(): number {
    return this.#concurrency - this.#jobs.size
  }

  /** So many jobs at the same time from now on. Fewer stop none that runs. */
  setConcurrency(concurrency: number): void {
    this.#concurrency = concurrency
    this.#queue.concurrency = concurrency
  }

  /** Bytes that came twice, because two were asked for them. */
  get wastedBytes(): number {
    return this.#hedging.wastedBytes
  }

  /** Begins a job. `from` is undefined for the origin. The caller has looked at `free`. */
  fetch(plan: Plan, from: ParentAddress | undefined): void {
    const { clock } = this.#world
    const job: Job = {
      plan,
      scope: new Scope([]),
      startedAt: clock.now(),
      patience: undefined,
      asked: undefined,
      reading: undefined,
      hedge: undefined,
      quietMs: this.#limits.patienceMs,
      stopped: undefined,
    }
    this.#jobs.set(plan.piece.number, job)
    void this.#queue.add(() => this.#run(job, from))
    this.#hedging.look()
  }

  /** Stops the job of this piece, and nobody is to blame. */
  drop(number: number): void {
    const job = this.#jobs.get(number)
    if (job !== undefined) stop(job, withdrawal)
  }

  /** Stops all jobs with this parent, and nobody is to blame: it is known already that it is gone. */
  dropParent(parent: string): void {
    for (const job of this.#jobs.values()) {
      if (job.hedge?.parent === parent) job.hedge.stop()
      if (job.plan.parent === parent) stop(job, withdrawal)
    }
  }

  /** Looks again at jobs that wait in a queue or have been quiet: there may be somebody else for them now. */
  recheck(): void {
    for (const number of this.#events.moves((each) => this.#queued(each))) this.drop(number)
    for (const job of this.#jobs.values()) if (job.patience?.quiet === true) this.#onQuiet(job)
  }

  /** Stops everything. Resolves when all slots are released. */
  async close(): Promise<void> {
    for (const job of this.#jobs.values()) stop(job, withdrawal)
    this.#hedging.stop()
    await this.#queue.onIdle()
    await this.#hedging.settled
  }

  /** Whether this piece was asked for a while ago and nothing of it has come. */
  #queued(number: number): boolean {
    const job = this.#jobs.get(number)
    if (job?.asked === undefined || job.stopped !== undefined || job.asked.slot.filled > 0) {
      return false
    }
    return this.#world.clock.now() - job.asked.at >= queuedMs
  }

  async #run(job: Job, from: ParentAddress | undefined): Promise<void> {
    const { piece } = job.plan
    let outcome: Outcome
    try {
      const kept = await this.#keep(job, from)
      this.#patienceMs.delete(piece.number)
      outcome = { is: 'kept', piece, ...kept }
    } catch (error) {
      outcome = outcomeOf(job, error)
    }
    this.#jobs.delete(piece.number)
    if (this.#jobs.size === 0) this.#hedging.stop()
    this.#events.onOutcome(outcome)
  }

  /** The way of one piece. Everything that is taken here is given back here. */
  async #keep(
    job: Job,
    from: ParentAddress | undefined,
  ): Promise<Omit<Extract<Outcome, { is: 'kept' }>, 'is' | 'piece'>> {
    const { sink, clock } = this.#world
    const { piece } = job.plan
    const { signal } = job.scope
    signal.throwIfAborted()
    const inner = await sink.slot(piece.number, signal)
    const startedAt = clock.now()
    using patience = this.#patience(job, inner)
    job.patience = patience
    job.asked = { slot: inner, at: startedAt }
    const slot = new WatchedSlot(inner, patience, () => this.#events.onBytes(job.plan.parent))
    try {
      const { digest: promised, transport } = await this.#first(job, from, slot)
      // Whoever was first, so after the read.
      const parent = job.hedge?.won === undefined ? job.plan.parent : job.hedge.parent
      patience.stop()
      this.#usual.onKept(patience.longestMs)
      if (slot.filled !== piece.length) throw shortPiece(parent, piece, slot.filled)
      const digest = await slot.finish()
      if (promised !== '' && promised !== digest)
        throw this.#mismatch(piece, parent, promised, digest)
      if (from !== undefined) await this.#events.admit(parent, piece.number, digest)
      signal.throwIfAborted()
      await sink.commit(inner, { digest, parentId: parent })
      // Time in which our own side was behind, or held to a limit, says nothing about the sender.
      const costMs = Math.max(0, clock.now() - startedAt - patience.heldMs)
      return { parent, digest, costMs, ...(transport === undefined ? {} : { transport }) }
    } catch (error) {
      throw slot.failure === undefined ? error : slot.failure.error
    } finally {
      inner.release()
    }
  }

  /** What the first brings of those who are asked: the parent of the job, and later perhaps another one. */
  async #first(job: Job, from: ParentAddress | undefined, slot: WatchedSlot): Promise<Received> {
    using reading = new Scope([job.scope.signal])
    job.reading = reading
    try {
      return await this.#read(job, from, slot, reading.signal)
    } catch (error) {
      const { hedge } = job
      if (hedge?.won === undefined || job.scope.signal.aborted) throw error
      if (slot.failure !== undefined) throw error
      this.#hedging.onBeaten(slot.filled)
      await this.#pour(job, hedge, hedge.won.digest, slot)
      return hedge.won
    } finally {
      job.reading = undefined
      if (job.hedge?.won === undefined) job.hedge?.stop()
    }
  }

  /** What the second parent sent takes the place of what the first did, unless that is all here as well: it was stopped with its last byte. */
  async #pour(job: Job, hedge: Hedge, won: string, slot: WatchedSlot): Promise<void> {
    if (slot.filled < job.plan.piece.length) {
      await slot.rewind()
      return await hedge.pour(slot)
    }
    if ((await slot.finish()) === won) return
    // Nothing says which of them is wrong: it is fetched again.
    stop(job, withdrawal)
    throw withdrawn
  }

  async #read(
    job: Job,
    from: ParentAddress | undefined,
    slot: WatchedSlot,
    signal: AbortSignal,
  ): Promise<Received> {
    const { reader, access, spec } = this.#world
    const { piece } = job.plan
    if (from !== undefined) {
      const request = { taskId: spec.id, kind: spec.kind, piece }
      return reader.read(from, request, slot, signal)
    }
    if (access === undefined) throw new TypeError('The run has no origin')
    await readPiece(access, piece, slot, signal)
    return { digest: '' }
  }

  #patience(job: Job, slot: Slot): Patience {
    const { patienceMs, pieceTimeoutMs: endMs } = this.#limits
    const own = this.#patienceMs.get(job.plan.piece.number) ?? 0
    const quietMs = Math.min(Math.max(patienceMs, own, this.#usual.patienceMs), endMs)
    job.quietMs = quietMs
    // Grows with the patience, or a piece that takes everybody longer than that would never come.
    const slowMs = endMs * Math.max(quietMs / patienceMs, 1)
    return new Patience(
      this.#world.clock,
      { quietMs, slowMs, endMs },
      {
        behind: () => slot.filled * 2 < slot.piece.length,
        silentMs: () => slot.silentMs,
        onQuiet: () => this.#onQuiet(job),
        onEnd: () => stop(job, { is: 'silent', error: this.#silence(job, endMs) }),
      },
    )
  }

  /** The stall rule. */
  #onQuiet(job: Job): void {
    const { piece, parent } = job.plan
    if (job.stopped !== undefined) return
    if (!this.#events.hasOther(piece.number, parent)) return this.#onTrickle(job)
    const ms = job.quietMs
    this.#patienceMs.set(piece.number, Math.min(ms * 2, this.#limits.pieceTimeoutMs))
    stop(job, { is: 'slow', error: this.#silence(job, ms) })
  }

  /** A byte now and then must not keep a piece for ever: it counts as the silence that it is for the reader, where there is a last resort. */
  #onTrickle(job: Job): void {
    if (job.plan.parent === originId || job.patience?.trickles !== true) return
    if (!this.#events.hasResort()) return
    stop(job, { is: 'silent', error: this.#silence(job, this.#limits.pieceTimeoutMs) })
  }

  #silence(job: Job, ms: number): PeerError {
    const { parent, piece } = job.plan
    if (parent === originId && this.#world.access !== undefined) {
      return originSilent(this.#world.access, ms)
    }
    return new PeerError(
      'PARENT_TIMEOUT',
      `Parent ${parent} sent nothing of piece ${piece.number} for ${ms} ms`,
      { parent, timeoutMs: ms },
    )
  }

  #mismatch(
    piece: Piece,
    parent: string,
    expected: string,
    actual: string,
  ): PeerError<'DIGEST_MISMATCH'> {
    return new PeerError(
      'DIGEST_MISMATCH',
      `Piece ${piece.number} from ${parent} should have digest ${expected} and has ${actual}`,
      { task: this.#world.spec.id, expected, actual, piece: piece.number, parent },
    )
  }
}

function stop(job: Job, how: Stop): void {
  job.stopped ??= how
  job.scope.abort(how.is === 'withdrawn' ? withdrawn : how.error)
}

function outcomeOf(job: Job, error: unknown): Outcome {
  const { piece, parent } = job.plan
  const { startedAt, stopped } = job
  if (stopped === undefined) return { is: 'failed', piece, parent, error, startedAt }
  if (stopped.is === 'withdrawn') return { is: 'dropped', piece, parent }
  return { is: 'failed', piece, parent, error: stopped.error, startedAt, silence: stopped.is }
}

function shortPiece(parent: string, piece: Piece, filled: number): PeerError<'PARENT_PROTOCOL'> {
  return new PeerError(
    'PARENT_PROTOCOL',
    `Parent ${parent} ended piece ${piece.number} after ${filled} of ${piece.length} bytes`,
    { parent, what: 'piece length', expected: String(piece.length), actual: String(filled) },
  )
}

import { type ErrorCode, PeerError } from '../errors.ts'
import { type Deferred, deferred } from '../util/deferred.ts'
import type { Blame, Failure } from './blame.ts'
import { explainRun, type RunState } from './explain.ts'
import type { Outcome } from './fetcher.ts'
import { type Piece, pieceAt, type Range } from './piece.ts'
import { originId } from './plan.ts'
import type { Have, Parent, SessionEnd, Sink, TaskSpec } from './ports.ts'
import { RunNews } from './run-news.ts'
import { type RunOptions, type RunPorts, type RunSettings, runSettings } from './run-options.ts'
import { type RunParts, runParts } from './run-parts.ts'
import { Seats } from './seats.ts'
import type { Seat, Share } from './share.ts'

/*
 * A run is the loop around the planner. Event handlers record what happened in the part that owns it and call `#changed()`; `#advance()` then
 * does, once for any number of changes, everything that has become possible.
 *
 *   Dialogue   what the scheduler says        Planner   which piece of whom       Seat     what each download wants
 *   Feeds      what parents say they have     Fetcher   the jobs                  Rescue   what to do when nobody has a piece
 *   Parents    how each parent stands         OriginGate  whether the origin is used
 */

type Phase =
  | { readonly is: 'idle' }
  | { readonly is: 'active'; readonly startedAt: number }
  | { readonly is: 'ended'; readonly how: 'done' | 'failed' }

/** Fires the signal of everything that belongs to a run. It never leaves the run: shares reject with their own reason. */
const over = new Error('The run has ended')

/**
 * One task's download in this peer: from parents, from the origin where that is allowed, into a sink. Several downloads of one task share a run.
 *
 * It does nothing until the first `join`, and ends by itself when everything wanted is kept, when nobody can deliver what is missing, or when
 * the last share has left. After that it cannot be joined any more.
 *
 * @example
 * ```ts
 * const run = new Run(spec, sink, { concurrency: 8 }, ports)
 * const share = run.join()
 * await share.done
 * await run.ended
 * ```
 */
export class Run {
  readonly #spec: TaskSpec
  readonly #sink: Sink
  readonly #settings: RunSettings
  readonly #ports: RunPorts
  readonly #life = new AbortController()
  readonly #parts: RunParts
  readonly #seats: Seats
  readonly #bytes = { source: 0, peer: 0 }
  readonly #news: RunNews
  readonly #ended: Deferred<void> = deferred()
  #phase: Phase = { is: 'idle' }
  #lastError: unknown
  /** Parents that were passed over because of their version. */
  #others = 0
  #outdated: 'no' | 'maybe' | 'yes' = 'no'
  #scheduled = false
  #cancelWake: () => void = () => undefined

  /** Does no work yet. @throws TypeError, RangeError for options that make no sense */
  constructor(spec: TaskSpec, sink: Sink, options: RunOptions, ports: RunPorts) {
    this.#spec = spec
    this.#sink = sink
    this.#ports = ports
    this.#news = new RunNews(spec.id)
    this.#settings = runSettings(options)
    this.#seats = new Seats({
      cut: sink.geometry,
      has: (number) => sink.has(number),
      urge: (numbers) => this.#urge(numbers),
      leave: (from, reason) => this.#leave(from, reason),
    })
    this.#parts = runParts(spec, sink, this.#settings, ports, this.#life.signal, {
      onParents: (parents, how) => this.#onParents(parents, how),
      onBroken: (error) => this.#end({ reason: error }),
      onHave: (parent, have) => this.#onHave(parent, have),
      onParentFailed: (...args) => this.#onParentFailed(...args),
      onOriginFailed: (error, startedAt) => this.#onOriginFailed(error, startedAt),
      onOutcome: (outcome) => this.#onOutcome(outcome),
      onKept: (...args) => this.#onKept(...args),
      onMixed: (error) => this.#drop(error),
      onChange: () => this.#changed(),
      range: () => this.#seats.range,
      lastError: () => this.#lastError,
    })
  }

  /** Whether it can be joined. */
  get open(): boolean {
    return this.#phase.is !== 'ended'
  }

  /** Resolves when the run has ended and has given everything back: slots, feeds, jobs, session. Never rejects. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  /** `yes`: what is kept is of several versions, or of one that nobody has who may be asked. `maybe`: there is nobody who could say. */
  get outdated(): 'no' | 'maybe' | 'yes' {
    return this.#outdated
  }

  /** Whether the scheduler could be told how it ended. */
  get told(): boolean {
    return this.#parts.dialogue.told
  }

  /**
   * Takes part: all pieces of the range, or of the whole content, are wanted from now on. The first to join starts the run.
   *
   * @throws PeerError CLOSED when the run has ended; RangeError when the range is empty or starts past the content
   */
  join(range?: Range): Share {
    if (this.#phase.is === 'ended') {
      throw new PeerError('CLOSED', 'The run has ended', { what: 'run' })
    }
    const seat = this.#seats.take(range)
    const fresh: number[] = []
    for (let number = seat.first; number <= seat.last; number++) {
      if (this.#sink.has(number)) this.#onHere(number)
      else if (this.#parts.planner.wantMissing(number)) fresh.push(number)
    }
    if (this.#phase.is === 'idle') this.#start()
    else if (fresh.length > 0) this.#parts.feeds.more(fresh)
    this.#changed()
    return seat
  }

  /** A child asks for pieces under this peer id: it may have some that are missing here. See `Meetings`. */
  meet(peerId: string): void {
    if (this.#phase.is === 'active') this.#parts.meetings.meet(peerId)
  }

  /** So many pieces at once from now on. What is on its way goes on. */
  setConcurrency(concurrency: number): void {
    this.#parts.fetcher.setConcurrency(concurrency)
    this.#changed()
  }

  /** Ends the run now. All shares reject with the reason, unchanged. Safe to call at any time. */
  cancel(reason: unknown): void {
    this.#end({ reason })
  }

  /** The whole state as plain data, without anything secret. */
  explain(): RunState {
    const [phase, shares] = [this.#phase.is, this.#seats.size]
    return explainRun({ spec: this.#spec, phase, parts: this.#parts, shares, bytes: this.#bytes })
  }

  /** idle → active, or → ended when there is nothing to do: then no session is opened. */
  #start(): void {
    const { clock } = this.#ports
    this.#phase = { is: 'active', startedAt: clock.now() }
    this.#news.started(this.#sink.geometry.contentLength)
    if (this.#parts.planner.missing === 0) return this.#end(undefined)
    this.#parts.rescue.onProgress(clock.now())
    this.#parts.dialogue.open()
  }

  /** Something changed. Many changes in one turn are one `#advance()`, which sees all of them. */
  #changed(): void {
    if (this.#scheduled || this.#phase.is !== 'active') return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      try {
        this.#advance()
      } catch (error) {
        this.#end({ reason: error })
      }
    })
  }

  /** Does everything that is possible now. */
  #advance(): void {
    if (this.#phase.is !== 'active') return
    const now = this.#ports.clock.now()
    if (this.#parts.planner.missing === 0) return this.#end(undefined)
    for (const parent of this.#parts.parents.thaw(now)) this.#parts.planner.onParentResumed(parent)
    this.#parts.gate.advance(now)
    this.#fill()
    if (this.#parts.planner.counts.fetching === 0) this.#takeKept()
    this.#parts.fetcher.recheck()
    const finding = this.#parts.rescue.look(now)
    if (finding.is === 'lost') return this.#lose(finding.error)
    if (finding.is === 'opened') this.#changed()
    this.#cancelWake()
    const at = this.#parts.rescue.lookAt(now)
    if (at !== undefined) {
      // Never less than a millisecond: a rest that is lost in rounding would be waited for without end.
      const restMs = Math.max(1, Math.ceil(at - now))
      this.#cancelWake = this.#ports.clock.after(restMs, () => this.#changed())
    }
  }

  /** Nothing is fetched: what is missing may have been kept by somebody else meanwhile, who published the content from here. */
  #takeKept(): void {
    const { planner } = this.#parts
    for (const number of planner.missingNumbers()) if (this.#sink.has(number)) this.#onHere(number)
    if (planner.missing === 0) this.#changed()
  }

  /** The piece is here, and no job of this run brought it. */
  #onHere(number: number): void {
    if (!this.#parts.planner.onKept(number)) return
    this.#seats.onKept(pieceAt(this.#sink.geometry, number), 'local')
  }

  #fill(): void {
    while (this.#parts.fetcher.free > 0) {
      const plan = this.#parts.planner.next()
      if (plan === undefined) return
      const from = plan.parent === originId ? undefined : this.#parts.parents.address(plan.parent)
      this.#parts.fetcher.fetch(plan, from)
    }
  }

  #onParents(parents: readonly Parent[], how: 'named' | 'met'): void {
    for (const parent of parents) {
      // What was not believed of a child is told anew to one who is named.
      if (how === 'named' && this.#parts.parents.isMet(parent.id)) this.#parts.feeds.drop(parent.id)
      if (this.#parts.parents.add(parent, how) === 'refused') continue
      this.#parts.planner.onParents([parent.id])
      this.#parts.feeds.watch(parent)
    }
  }

  #onHave(parent: string, have: Have): boolean {
    this.#parts.parents.onEndpoint(parent, have.endpoint)
    if (!this.#parts.planner.onHave(parent, have.number)) return false
    this.#parts.rescue.onProgress(this.#ports.clock.now())
    this.#changed()
    return true
  }

  #onOutcome(outcome: Outcome): void {
    if (this.#phase.is !== 'active') return
    const { piece, parent } = outcome
    if (outcome.is === 'kept') {
      this.#onKept(piece, parent, outcome.digest, outcome.costMs, outcome.transport)
    } else if (outcome.is === 'dropped') {
      this.#parts.planner.onFailed(piece.number, false)
    } else {
      const { error, startedAt, silence } = outcome
      this.#news.failed(piece, parent, error)
      if (parent === originId) {
        this.#parts.planner.onFailed(piece.number, false)
        this.#onOriginFailed(error, startedAt)
      } else {
        const how = { startedAt, ...(silence === undefined ? {} : { silence }) }
        const blame = this.#onParentFailed(parent, error, how, piece.number)
        this.#parts.planner.onFailed(piece.number, blame === 'refuse')
      }
    }
    this.#changed()
  }

  /** A piece is kept: whoever waits for it is woken, and the scheduler told without waiting. */
  #onKept(piece: Piece, parent: string, digest: string, costMs: number, transport?: string): void {
    if (this.#phase.is !== 'active') return
    const { clock } = this.#ports
    const traffic = parent === originId ? 'source' : 'peer'
    this.#parts.planner.onDone(piece.number, costMs)
    this.#bytes[traffic] += piece.length
    if (parent === originId) this.#parts.gate.onSuccess()
    else this.#parts.parents.onDone(parent, piece.length)
    this.#parts.dialogue.onProgress()
    const createdAt = clock.date()
    this.#parts.dialogue.pieceDone({ piece, digest, traffic, parentId: parent, costMs, createdAt })
    this.#news.kept(piece, { parent, traffic, costMs, transport })
    this.#seats.onKept(piece, traffic)
    this.#changed()
  }

  /** A fetch from a parent, or its feed, failed. What that means is decided by `blameFor`; here it is carried out. */
  #onParentFailed(
    parent: string,
    error: unknown,
    how: Omit<Failure, 'code'>,
    number?: number,
  ): Blame {
    this.#lastError = error
    if (PeerError.is(error, 'ORIGIN_CHANGED') && !this.#parts.parents.isMet(parent)) this.#others++
    const now = this.#ports.clock.now()
    const blame = PeerError.is(error)
      ? this.#parts.parents.onFailure(parent, { ...how, code: error.code }, now)
      : 'local'
    if (blame === 'local') {
      this.#end({ reason: error })
      return blame
    }
    const state = this.#parts.parents.state(parent)
    if (state?.is === 'paused') this.#parts.planner.onParentPaused(parent)
    if (state?.is === 'banned' || state?.is === 'dropped') {
      this.#dropParent(parent, state.code, number)
    } else if (number === undefined && PeerError.is(error, 'TASK_NOT_FOUND')) {
      // It dropped what it told of. A piece that it has later may be one of other content.
      this.#parts.planner.onParentEmptied(parent)
      this.#parts.fetcher.dropParent(parent)
    }
    this.#changed()
    return blame
  }

  #onOriginFailed(error: unknown, startedAt: number): void {
    if (this.#parts.gate.onFailure(error, startedAt) === 'local') this.#end({ reason: error })
    else if (!this.#parts.gate.hopeful) this.#parts.fetcher.dropParent(originId)
    this.#changed()
  }

  #dropParent(parent: string, code: ErrorCode, number: number | undefined): void {
    if (this.#parts.planner.load(parent) === undefined) return
    this.#parts.planner.onParentGone(parent)
    this.#parts.feeds.drop(parent)
    this.#parts.fetcher.dropParent(parent)
    // Whoever is given up before any piece of it failed is named with one that it should have told.
    this.#parts.dialogue.pieceFailed(number ?? this.#parts.planner.missingNumbers()[0] ?? 0, parent)
    this.#news.dropped(parent, code)
  }

  #urge(numbers: readonly number[]): void {
    this.#parts.planner.urge(numbers)
    this.#changed()
  }

  #leave(seat: Seat, reason: unknown): void {
    if (!this.#seats.leave(seat)) return
    seat.fail(reason)
    if (this.#phase.is !== 'active') return
    if (this.#seats.size === 0) {
      return this.#end(this.#parts.planner.missing === 0 ? undefined : { reason })
    }
    for (let number = seat.first; number <= seat.last; number++) {
      if (this.#seats.want(number)) continue
      if (this.#parts.planner.unwant(number)) this.#parts.fetcher.drop(number)
    }
    this.#changed()
  }

  /** Nobody can help. Without an origin to say who is right, parents of another version mean that what is kept here is what nobody has any more. */
  #lose(error: unknown): void {
    const { gate, versions } = this.#parts
    const alone = !gate.allowed && PeerError.is(error, 'NO_PARENTS')
    if (alone) this.#outdated = 'maybe'
    if (!alone || this.#others === 0) return this.#end({ reason: error })
    this.#drop(versions.outdated(error))
  }

  /** active → ended, and what is kept is of no use. */
  #drop(reason: unknown): void {
    if (this.#phase.is !== 'active') return
    this.#outdated = 'yes'
    this.#end({ reason })
  }

  /** idle, active → ended. Without a failure everything wanted is kept. */
  #end(failure: { readonly reason: unknown } | undefined): void {
    if (this.#phase.is === 'ended') return
    const before = this.#phase
    this.#phase = { is: 'ended', how: failure === undefined ? 'done' : 'failed' }
    this.#cancelWake()
    this.#life.abort(over)
    if (failure === undefined) this.#seats.finish()
    else this.#seats.fail(failure.reason)
    if (before.is === 'active') this.#tellEnd(failure, before.startedAt)
    void this.#giveBack(failure)
  }

  async #giveBack(failure: { readonly reason: unknown } | undefined): Promise<void> {
    const source = this.#parts.dialogue.ordered
    const end: SessionEnd =
      failure === undefined
        ? { is: 'done', source }
        : { is: 'failed', source, reason: codeOf(failure.reason) }
    await Promise.allSettled([
      this.#parts.fetcher.close(),
      this.#parts.feeds.close(),
      this.#parts.gate.close(),
      this.#parts.dialogue.finish(end),
    ])
    this.#ended.resolve()
  }

  #tellEnd(failure: { readonly reason: unknown } | undefined, startedAt: number): void {
    if (failure !== undefined) return this.#news.lost(codeOf(failure.reason))
    const tookMs = this.#ports.clock.now() - startedAt
    this.#news.finished(this.#sink.geometry.contentLength, this.#bytes, tookMs)
  }
}

function codeOf(reason: unknown): ErrorCode | 'ABORTED' {
  return PeerError.is(reason) ? reason.code : 'ABORTED'
}

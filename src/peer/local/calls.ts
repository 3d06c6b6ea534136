import { Code, ConnectError } from '@connectrpc/connect'
import type { Clock } from '../../util/clock.ts'
import { type Deferred, deferred } from '../../util/deferred.ts'
import { abortable, Scope } from '../../util/scope.ts'
import { ClosingGrace } from '../closing-grace.ts'
import type { Signals } from '../world.ts'

/** Milliseconds that a closing peer bears a tool that takes nothing. */
export const toolStandingMs: number = 5000

/** Downloads and exports for tools at the same time; one more is refused with RESOURCE_EXHAUSTED. */
export const localDownloadsMax: number = 256
/** Imports for tools at the same time; one more is refused. Each reads a file and holds up to 3 MiB. */
export const localImportsMax: number = 16
/** All other calls of tools at the same time; one more is refused. */
export const localQuestionsMax: number = 256

/** What kind of work a call is. */
export type CallKind = 'download' | 'import' | 'question'

const atOnceMax: Readonly<Record<CallKind, number>> = {
  download: localDownloadsMax,
  import: localImportsMax,
  question: localQuestionsMax,
}

/** What the calls live in. */
export interface CallsHost {
  /** Resolves when the peer is put together: calls that come earlier wait. */
  readonly ready: Promise<void>
  readonly signals: Signals
  readonly clock: Clock
}

/** The calls of tools that are under way: bounded, and waited for when the peer closes. */
export class Calls {
  readonly #host: CallsHost
  readonly #grace: ClosingGrace
  readonly #open = new Set<Call>()
  #waiting: Deferred<void>[] = []

  constructor(host: CallsHost) {
    this.#host = host
    this.#grace = new ClosingGrace(host.signals.closing, host.clock, toolStandingMs)
  }

  /** How many of each kind there are. */
  get counts(): Readonly<Record<CallKind, number>> {
    const of = (kind: CallKind): number =>
      [...this.#open].filter((call) => call.kind === kind).length
    return { download: of('download'), import: of('import'), question: of('question') }
  }

  /**
   * Begins a call; dispose it at its end.
   *
   * @param outer - fires when the tool goes away
   * @throws ConnectError Unavailable when the peer closes, ResourceExhausted when there are too many
   */
  async enter(kind: CallKind, outer: AbortSignal, timeoutMs?: number): Promise<Call> {
    const { ready, signals, clock } = this.#host
    if (signals.closing.aborted) throw new ConnectError('The peer is closing', Code.Unavailable)
    if (this.counts[kind] >= atOnceMax[kind]) {
      throw new ConnectError(`More than ${atOnceMax[kind]} at once`, Code.ResourceExhausted)
    }
    const scope = new Scope(
      [signals.lifetime, outer],
      timeoutMs === undefined ? undefined : { timeoutMs, onTimeout: timeIsOver, clock },
    )
    const call = new Call(kind, scope, this.#grace, () => this.#changed(call))
    this.#open.add(call)
    try {
      await abortable(ready, call.signal)
      return call
    } catch (error) {
      call[Symbol.dispose]()
      throw error
    }
  }

  /** Resolves when no call is left but those whose tools stand still. */
  async idle(): Promise<void> {
    while ([...this.#open].some(({ givenUp }) => !givenUp)) await this.#change()
  }

  /** Resolves when no call is left. */
  async ended(): Promise<void> {
    while (this.#open.size > 0) await this.#change()
  }

  #change(): Promise<void> {
    const wait = deferred<void>()
    this.#waiting.push(wait)
    return wait.promise
  }

  #changed(call: Call): void {
    if (call.over) this.#open.delete(call)
    for (const { resolve } of this.#waiting.splice(0)) resolve()
  }
}

/** One call under way. */
export class Call implements Disposable {
  /** What kind of work it is. */
  readonly kind: CallKind
  readonly #scope: Scope
  readonly #grace: ClosingGrace
  readonly #changed: () => void
  #state: 'open' | 'given up' | 'over' = 'open'

  constructor(kind: CallKind, scope: Scope, grace: ClosingGrace, changed: () => void) {
    this.kind = kind
    this.#scope = scope
    this.#grace = grace
    this.#changed = changed
  }

  /** Fires when the tool goes away, when its time is over, when the peer is destroyed, and when the call ends. */
  get signal(): AbortSignal {
    return this.#scope.signal
  }

  /** Its tool stands still and the peer closes: nobody waits for it any more. */
  get givenUp(): boolean {
    return this.#state !== 'open'
  }

  /** It has ended. */
  get over(): boolean {
    return this.#state === 'over'
  }

  /** The tool has got a message. Call the result when it asks for the next. */
  handed(): () => void {
    return this.#grace.standing(() => {
      if (this.#state !== 'open') return
      this.#state = 'given up'
      this.#changed()
    })
  }

  /** open, given up → over. Stops what still runs for it. */
  [Symbol.dispose](): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#scope.abort(new ConnectError('The call is over', Code.Canceled))
    this.#changed()
  }
}

function timeIsOver(): ConnectError {
  return new ConnectError('The time that the tool gave is over', Code.DeadlineExceeded)
}

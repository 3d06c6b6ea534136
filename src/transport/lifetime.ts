import { setMaxListeners } from 'node:events'
import { PeerError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import { type Deferred, deferred } from '../util/deferred.ts'
import { Scope } from '../util/scope.ts'

/** How long `close()` of a transport lets running transfers go on when the caller does not say. */
export const closeTimeoutMsDefault = 10_000

/** The life of a transport, and of the work inside it: open, then closing (no new work), then over (running work was aborted or is done). */
export class Lifetime {
  readonly #what: string
  readonly #clock: Clock
  readonly #over = new AbortController()
  #running = 0
  /** Resolves when no work runs any more; set by `close()`. */
  #quiet: Deferred<void> | undefined
  #closing: Promise<void> | undefined

  constructor(what: string, clock: Clock) {
    this.#what = what
    this.#clock = clock
    // One listener for each piece on its way; more than ten are no leak.
    setMaxListeners(0, this.#over.signal)
  }

  /** Fires when everything must end now. */
  get signal(): AbortSignal {
    return this.#over.signal
  }

  /** Whether new work is refused. */
  get closed(): boolean {
    return this.#quiet !== undefined || this.#over.signal.aborted
  }

  /**
   * Runs work until it ends, its own signal fires, or the lifetime is over.
   *
   * @throws PeerError CLOSED for new work after `close()`
   */
  async run<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    this.check()
    using scope = new Scope([this.#over.signal, signal])
    this.#running++
    try {
      return await work(scope.signal)
    } finally {
      this.#running--
      if (this.#running === 0) this.#quiet?.resolve()
    }
  }

  /** @throws PeerError CLOSED when new work is refused */
  check(): void {
    if (this.closed) throw this.#closedError()
  }

  /** Refuses new work; resolves when the running work and `rest` have ended. What still runs after `timeoutMs` is aborted. */
  close(timeoutMs: number, rest?: () => Promise<void>): Promise<void> {
    this.#closing ??= this.#close(timeoutMs, rest)
    return this.#closing
  }

  /** Over now: running work is aborted with this reason. */
  destroy(reason: unknown): void {
    this.#over.abort(reason)
  }

  async #close(timeoutMs: number, rest?: () => Promise<void>): Promise<void> {
    this.#quiet = deferred()
    if (this.#running === 0) this.#quiet.resolve()
    const stopTimer = this.#clock.after(timeoutMs, () => this.destroy(this.#closedError()))
    await Promise.all([this.#quiet.promise, rest?.()])
    stopTimer()
    this.destroy(this.#closedError())
  }

  #closedError(): PeerError<'CLOSED'> {
    return new PeerError('CLOSED', `The ${this.#what} is closed`, { what: this.#what })
  }
}

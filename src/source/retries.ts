import type { PeerError } from '../errors.ts'
import { abortable } from '../util/scope.ts'
import type { Clock } from '../util/clock.ts'
import { deferred } from '../util/deferred.ts'

/** Wait before the second attempt, in milliseconds; doubles each time. */
export const backoffMs = 200
/** Longest wait that doubling leads to. */
export const backoffMsMax = 10_000
/** Longest wait that an origin can ask for with `Retry-After`. */
export const retryAfterMsMax = 60_000
/** An attempt that delivered at least this much counts as progress: an origin that breaks off after each byte is given up all the same. */
export const progressBytesMin: number = 64 * 1024

/** A failed attempt. */
export interface Failure {
  /** What the caller gets when it is not tried again. */
  readonly error: PeerError
  /** Whether another attempt may go better. */
  readonly transient: boolean
  /** The origin asked for this pause. */
  readonly retryAfterMs?: number
}

/** How often and how soon a request is repeated. */
export interface RetryPolicy {
  /** Failed attempts in a row, without progress, after the first. */
  readonly retriesMax: number
  readonly clock: Clock
  /** From 0 up to 1. */
  readonly random: () => number
}

/** The attempts of one operation. */
export class Retries {
  readonly #policy: RetryPolicy
  readonly #signal: AbortSignal
  #attempts = 0
  #failures = 0
  #delivered = 0

  constructor(policy: RetryPolicy, signal: AbortSignal) {
    this.#policy = policy
    this.#signal = signal
  }

  /** Attempts begun, the current one included. */
  get attempts(): number {
    return this.#attempts
  }

  /** A new attempt begins. */
  begin(): void {
    this.#attempts++
  }

  /** Content arrived. */
  progressed(bytes: number): void {
    this.#delivered += bytes
    if (this.#delivered >= progressBytesMin) this.#failures = 0
  }

  /**
   * Waits until the next attempt may begin: exponential back-off, half of it random so that peers which failed together do not come back together.
   *
   * @throws PeerError the failure's, when it is final or the attempts are used up; `signal.reason` when cancelled
   */
  async again(failure: Failure): Promise<void> {
    if (!failure.transient || this.#failures >= this.#policy.retriesMax) throw failure.error
    const backoff = Math.min(backoffMs * 2 ** this.#failures, backoffMsMax)
    const asked = Math.min(failure.retryAfterMs ?? 0, retryAfterMsMax)
    this.#failures++
    this.#delivered = 0
    await this.#sleep(Math.max(asked, (backoff * (1 + this.#policy.random())) / 2))
  }

  async #sleep(delayMs: number): Promise<void> {
    const { promise, resolve } = deferred<void>()
    const release = this.#policy.clock.after(delayMs, resolve)
    try {
      await abortable(promise, this.#signal)
    } finally {
      release()
    }
  }
}

/** Milliseconds that a `Retry-After` field asks for: seconds or a date (RFC 9110 10.2.3). Undefined when it cannot be read. */
export function parseRetryAfter(value: string | undefined, clock: Clock): number | undefined {
  if (value === undefined) return undefined
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.max(0, date - clock.date())
}

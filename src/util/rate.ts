import type { Clock } from './clock.ts'

/** How much unused rate is kept for later, in milliseconds of it. */
export const burstMsDefault = 100
/** Highest rate that can be set, in bytes per second: 1 TB/s. More is the same as no limit. */
export const rateMax: number = 1e12

interface Waiter {
  readonly byteCount: number
  readonly go: () => void
}

/** What a `TokenBucket` is made of. */
export interface TokenBucketOptions {
  /** Undefined: no limit. */
  readonly bytesPerSecond: number | undefined
  readonly clock: Clock
  /** Unused rate kept for later, in milliseconds of it. @defaultValue `burstMsDefault` */
  readonly burstMs?: number
}

/**
 * Paces bytes: over any long time no more than `bytesPerSecond`, first come, first served.
 *
 * The one at the head of the queue goes when the bucket holds what it takes, or is full, and leaves a debt when it takes more than that. So a take of any
 * size passes, the next one pays for it, and small ones cannot overtake a large one for ever.
 */
export class TokenBucket {
  readonly #clock: Clock
  readonly #burstMs: number
  readonly #waiting = new Set<Waiter>()
  #rate: number | undefined
  /** Bytes that may go now; negative while a debt is paid off. */
  #tokens: number
  #filledAt: number
  #stopTimer: (() => void) | undefined

  constructor(options: TokenBucketOptions) {
    this.#clock = options.clock
    this.#burstMs = options.burstMs ?? burstMsDefault
    if (!(this.#burstMs > 0)) {
      throw new RangeError(`burstMs must be above 0, got ${this.#burstMs}`)
    }
    this.#rate = checkedRate(options.bytesPerSecond)
    this.#tokens = this.#capacity()
    this.#filledAt = this.#clock.now()
  }

  /** The limit now; undefined when there is none. */
  get bytesPerSecond(): number | undefined {
    return this.#rate
  }

  /** Whether there is a limit now. */
  get limited(): boolean {
    return this.#rate !== undefined
  }

  /** Takes in the queue. Its bound is the number of callers. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Resolves when `byteCount` more bytes may go. Rejects with `signal.reason`; then nothing was taken. */
  async take(byteCount: number, signal: AbortSignal): Promise<void> {
    if (!Number.isSafeInteger(byteCount) || byteCount < 0) {
      throw new RangeError(`byteCount must be a whole number, got ${byteCount}`)
    }
    signal.throwIfAborted()
    if (this.#rate === undefined || (this.#waiting.size === 0 && this.#tryTake(byteCount))) return
    await new Promise<void>((resolve, reject) => {
      const waiter: Waiter = {
        byteCount,
        go: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      const leave = (): void => {
        this.#waiting.delete(waiter)
        this.#advance()
        reject(signal.reason)
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.add(waiter)
      this.#advance()
    })
  }

  /** Takes without asking: what has gone already. The next takes pay for it. */
  spend(byteCount: number): void {
    if (this.#rate === undefined) return
    this.#refill()
    this.#tokens -= byteCount
  }

  /** A new limit from now on, also for those who wait already. Undefined: no limit. A debt in bytes stays; a first limit starts with nothing saved. */
  setRate(bytesPerSecond: number | undefined): void {
    const rate = checkedRate(bytesPerSecond)
    this.#refill()
    const saved = this.#rate === undefined ? 0 : this.#tokens
    this.#rate = rate
    this.#tokens = Math.min(saved, this.#capacity())
    this.#advance()
  }

  /** Lets everybody go whose turn it is, and sets the timer for the next one. */
  #advance(): void {
    this.#stopTimer?.()
    this.#stopTimer = undefined
    for (const waiter of this.#waiting) {
      if (!this.#tryTake(waiter.byteCount)) {
        this.#stopTimer = this.#clock.after(this.#waitMs(waiter.byteCount), () => this.#advance())
        return
      }
      this.#waiting.delete(waiter)
      waiter.go()
    }
  }

  #tryTake(byteCount: number): boolean {
    if (this.#rate === undefined) return true
    this.#refill()
    if (this.#tokens < Math.min(byteCount, this.#capacity())) return false
    this.#tokens -= byteCount
    return true
  }

  #refill(): void {
    const now = this.#clock.now()
    const elapsedMs = now - this.#filledAt
    this.#filledAt = now
    if (this.#rate === undefined) return
    this.#tokens = Math.min(this.#capacity(), this.#tokens + (elapsedMs * this.#rate) / 1000)
  }

  /** At least one millisecond: timers are no finer, and rounding must not make a loop that waits for nothing. */
  #waitMs(byteCount: number): number {
    const missing = Math.min(byteCount, this.#capacity()) - this.#tokens
    return Math.max(1, Math.ceil((missing * 1000) / (this.#rate ?? rateMax)))
  }

  /** Whole bytes and at least one: a full bucket is always enough for somebody. */
  #capacity(): number {
    return Math.max(1, Math.floor(((this.#rate ?? 0) * this.#burstMs) / 1000))
  }
}

function checkedRate(bytesPerSecond: number | undefined): number | undefined {
  if (bytesPerSecond === undefined) return undefined
  if (!(bytesPerSecond >= 1 && bytesPerSecond <= rateMax)) {
    throw new RangeError(`bytesPerSecond must be from 1 to ${rateMax}, got ${bytesPerSecond}`)
  }
  return bytesPerSecond
}

import type { Clock } from '../../util/clock.ts'
import { backOffMs, backOffMsMax, standingsMax, withoutRdmaMs } from './limits.ts'

interface Entry {
  readonly failures: number
  readonly until: number
  readonly reason: string
}

/** Which parents are not tried over RDMA for a time, and why. One that fails again is left alone for twice as long. */
export class Standing {
  readonly #clock: Clock
  /** The oldest knowledge comes first. */
  readonly #entries = new Map<string, Entry>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether it may be tried now. */
  isOpen(key: string): boolean {
    const entry = this.#entries.get(key)
    return entry === undefined || this.#clock.now() >= entry.until
  }

  /** It failed: a connection broke, or could not be made. */
  onFailed(key: string, reason: string): void {
    // Pieces that were on their way together fail together: that is one failure.
    if (!this.isOpen(key)) return
    const failures = (this.#entries.get(key)?.failures ?? 0) + 1
    const ms = Math.min(backOffMs * 2 ** (failures - 1), backOffMsMax)
    this.#set(key, { failures, until: this.#clock.now() + ms, reason })
  }

  /** It said that it has no RDMA. */
  onWithout(key: string, reason: string): void {
    this.#set(key, { failures: 1, until: this.#clock.now() + withoutRdmaMs, reason })
  }

  /** A piece came. */
  onWorks(key: string): void {
    this.#entries.delete(key)
  }

  /** As plain data. */
  explain(): unknown[] {
    const now = this.#clock.now()
    return [...this.#entries].map(([parent, { failures, until, reason }]) => ({
      parent,
      failures,
      leftMs: Math.max(0, Math.round(until - now)),
      reason,
    }))
  }

  #set(key: string, entry: Entry): void {
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    const [oldest] = this.#entries.keys()
    if (this.#entries.size > standingsMax && oldest !== undefined) this.#entries.delete(oldest)
  }
}

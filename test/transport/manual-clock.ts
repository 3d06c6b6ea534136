import type { Clock } from '../../src/util/clock.ts'

interface Timer {
  readonly at: number
  readonly call: () => void
}

/** A clock that stands still until it is told to go on. */
export class ManualClock implements Clock {
  #now = 0
  readonly #timers = new Set<Timer>()

  /** Timers that have not fired. */
  get pending(): number {
    return this.#timers.size
  }

  /** How long each of them has still to wait, in milliseconds. */
  get delays(): number[] {
    return [...this.#timers].map(({ at }) => at - this.#now)
  }

  now(): number {
    return this.#now
  }

  date(): number {
    return 1_755_600_000_000 + this.#now
  }

  after(delayMs: number, call: () => void): () => void {
    const timer = { at: this.#now + delayMs, call }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** Goes on, and fires what is due in its order, with the time that it was due at. */
  advance(ms: number): void {
    const until = this.#now + ms
    while (this.step(until)) continue
    this.#now = until
  }

  /** Goes on to the next timer up to that time and fires it; false when there is none. */
  step(until: number = Number.POSITIVE_INFINITY): boolean {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.at <= until && (next === undefined || timer.at < next.at)) next = timer
    }
    if (next === undefined) return false
    this.#timers.delete(next)
    this.#now = Math.max(this.#now, next.at)
    next.call()
    return true
  }
}

import type { Clock } from '../../src/util/clock.ts'

/** The wall-clock time at which every simulation starts. */
export const startDate = 1_700_000_000_000

interface Timer {
  readonly at: number
  readonly order: number
  readonly call: () => void
}

/** Time that stands still until it is moved, and then jumps from timer to timer. Everything that is awaited between two jumps has settled. */
export class VirtualClock implements Clock {
  #now = 0
  #order = 0
  readonly #timers: Timer[] = []

  now(): number {
    return this.#now
  }

  date(): number {
    return startDate + this.#now
  }

  after(delayMs: number, call: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, delayMs), order: this.#order++, call }
    insert(this.#timers, timer)
    return () => {
      const at = this.#timers.indexOf(timer)
      if (at >= 0) this.#timers.splice(at, 1)
    }
  }

  /** Timers that are set: a simulation that has ended has none left. */
  get pending(): number {
    return this.#timers.length
  }

  /** Lets everything settle that needs no time. */
  async settle(): Promise<void> {
    // All microtasks, however long their chains are, run before the next immediate.
    await new Promise<void>((resolve) => setImmediate(resolve))
  }

  /** Lets `ms` pass. */
  async pass(ms: number): Promise<void> {
    const until = this.#now + ms
    await this.until(() => false, until)
    this.#now = until
    await this.settle()
  }

  /** Lets time pass until the predicate is true; false when `limitMs` (by this clock) came first, or nothing more would happen. */
  async until(
    predicate: () => boolean,
    limitMs: number = Number.POSITIVE_INFINITY,
  ): Promise<boolean> {
    await this.settle()
    while (!predicate()) {
      const [next] = this.#timers
      if (next === undefined || next.at > limitMs) return false
      this.#timers.shift()
      this.#now = Math.max(this.#now, next.at)
      next.call()
      await this.settle()
    }
    return true
  }

  /** Resolves after `ms` of this clock. Rejects with the signal's reason when it fires first. */
  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const fail = (): void => {
        cancel()
        reject(signal.reason)
      }
      const cancel = this.after(ms, () => {
        signal.removeEventListener('abort', fail)
        resolve()
      })
      signal.addEventListener('abort', fail, { once: true })
    })
  }
}

function insert(timers: Timer[], timer: Timer): void {
  let low = 0
  let high = timers.length
  while (low < high) {
    const middle = (low + high) >> 1
    const other = timers[middle]
    if (other !== undefined && other.at <= timer.at) low = middle + 1
    else high = middle
  }
  timers.splice(low, 0, timer)
}

/** Rejects when the signal fires, and never resolves: somebody who says nothing. */
export function never(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) return reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

/** Random numbers from 0 up to 1 that are the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

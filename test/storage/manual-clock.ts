import type { Clock } from '../../src/util/clock.ts'

/** A clock that a test moves. Its date begins at that of the machine, because files have theirs from there. */
export class ManualClock implements Clock {
  #now = 0
  readonly #start = Date.now()
  readonly #calls = new Set<{ readonly at: number; readonly call: () => void }>()

  now(): number {
    return this.#now
  }

  date(): number {
    return this.#start + this.#now
  }

  after(delayMs: number, call: () => void): () => void {
    const entry = { at: this.#now + delayMs, call }
    this.#calls.add(entry)
    return () => {
      this.#calls.delete(entry)
    }
  }

  /** Moves on, and calls what is due. */
  advance(ms: number): void {
    this.#now += ms
    for (const entry of Array.from(this.#calls)) {
      if (entry.at > this.#now || !this.#calls.delete(entry)) continue
      entry.call()
    }
  }
}

import type { Clock } from '../../src/util/clock.ts'

/** A clock on which every delay is over in the next turn of the event loop; it keeps what was asked for. */
export class VirtualClock implements Clock {
  readonly delays: number[] = []
  #now = 0

  now(): number {
    return this.#now
  }

  date(): number {
    return Date.UTC(2026, 0, 1) + this.#now
  }

  after(delayMs: number, call: () => void): () => void {
    this.delays.push(delayMs)
    const due = setImmediate(() => {
      this.#now += delayMs
      call()
    })
    return () => clearImmediate(due)
  }
}

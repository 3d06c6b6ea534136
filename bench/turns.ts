import { closeSync, openSync, readSync } from 'node:fs'

/** Milliseconds between two looks. A turn is found to be at most so much longer than it was. More looks would take a part of the processor that shows in what is measured. */
const everyMs = 10

/**
 * The longest turn of the event loop of this thread. A timer looks how late it is; the time in which another process had the processor, by the count of the
 * kernel, is not a part of the turn, so that a busy machine does not look like a busy loop.
 */
export class Turns {
  readonly #schedule: number
  readonly #bytes = Buffer.alloc(128)
  readonly #timer: NodeJS.Timeout
  #at = performance.now()
  #waitedMs: number
  #longestMs = 0

  constructor() {
    this.#schedule = openSync('/proc/self/schedstat', 'r')
    this.#waitedMs = this.#waited()
    this.#timer = setInterval(() => this.#look(), everyMs)
  }

  /** Ends it and says how long the longest turn was. */
  end(): number {
    this.#look()
    clearInterval(this.#timer)
    closeSync(this.#schedule)
    return this.#longestMs
  }

  #look(): void {
    const [at, waitedMs] = [performance.now(), this.#waited()]
    const turnMs = at - this.#at - (waitedMs - this.#waitedMs)
    this.#longestMs = Math.max(this.#longestMs, turnMs)
    this.#at = at
    this.#waitedMs = waitedMs
  }

  /** Milliseconds that this thread could have run and did not, since it was started. */
  #waited(): number {
    const count = readSync(this.#schedule, this.#bytes, 0, this.#bytes.length, 0)
    return Number(this.#bytes.toString('latin1', 0, count).split(' ')[1]) / 1e6
  }
}

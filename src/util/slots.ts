/**
 * A fixed number of places, given out first come, first served. Whoever stops waiting leaves the queue at once.
 *
 * @example
 * ```ts
 * using place = await slots.take(signal)
 * ```
 */
export class Slots {
  readonly #count: number
  readonly #waiting = new Set<() => void>()
  #taken = 0

  /** @param count - places, 1 or more */
  constructor(count: number) {
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new RangeError(`There must be at least one place, got ${count}`)
    }
    this.#count = count
  }

  /** Places in use. */
  get taken(): number {
    return this.#taken
  }

  /** Callers in the queue. Its bound is the number of callers: the queue makes none of its own. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Resolves with a place; dispose it to give it back (twice is safe). Rejects with `signal.reason`. */
  async take(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    if (this.#taken < this.#count) {
      this.#taken++
      return this.#place()
    }
    return await new Promise<Disposable>((resolve, reject) => {
      const call = (): void => {
        signal.removeEventListener('abort', leave)
        resolve(this.#place())
      }
      const leave = (): void => {
        this.#waiting.delete(call)
        reject(signal.reason)
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.add(call)
    })
  }

  #place(): Disposable {
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (!held) return
        held = false
        this.#passOn()
      },
    }
  }

  /** The place goes straight to the first in the queue: nobody can come in between. */
  #passOn(): void {
    const [first] = this.#waiting
    if (first === undefined) {
      this.#taken--
      return
    }
    this.#waiting.delete(first)
    first()
  }
}

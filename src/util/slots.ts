/**
 * A number of places, given out first come, first served. Whoever stops waiting leaves the queue at once.
 *
 * @example
 * ```ts
 * using place = await slots.take(signal)
 * ```
 */
export class Slots {
  #count: number
  readonly #waiting = new Set<() => void>()
  #taken = 0

  /** @param count - places, 1 or more */
  constructor(count: number) {
    this.#count = checkedCount(count)
  }

  /** Places that there are; more may be taken for a while after there were more. */
  get count(): number {
    return this.#count
  }

  /** So many places from now on. More wake those who wait; with fewer nobody loses a place, and those that come back are not given out again. */
  setCount(count: number): void {
    this.#count = checkedCount(count)
    for (const call of this.#waiting) {
      if (this.#taken >= this.#count) return
      this.#taken++
      this.#waiting.delete(call)
      call()
    }
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
    if (first === undefined || this.#taken > this.#count) {
      this.#taken--
      return
    }
    this.#waiting.delete(first)
    first()
  }
}

function checkedCount(count: number): number {
  if (Number.isSafeInteger(count) && count >= 1) return count
  throw new RangeError(`There must be at least one place, got ${count}`)
}

/** Of so many places one owner leaves at least one to the others. */
const ownerParts = 4

/**
 * A number of places that owners share: the next one goes to whoever waits and has fewest, and of equals to the one whose turn was longest ago. One owner alone never has
 * all of them, so that somebody who keeps places for long keeps nobody else out.
 *
 * An owner is an address here. Callers without one share nothing and may have all.
 *
 * @example
 * ```ts
 * using place = await places.take(signal, socket.remoteAddress)
 * ```
 */
export class FairSlots {
  #count: number
  #taken = 0
  readonly #held = new Map<string | undefined, number>()
  /** By owner, the one whose turn was longest ago first. Bounded by the number of callers: the queue makes none of its own. */
  readonly #waiting = new Map<string | undefined, Set<() => void>>()

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
    this.#advance()
  }

  /** Places in use. */
  get taken(): number {
    return this.#taken
  }

  /** Callers that wait. */
  get waiting(): number {
    let waiting = 0
    for (const calls of this.#waiting.values()) waiting += calls.size
    return waiting
  }

  /** Resolves with a place; dispose it to give it back (twice is safe). Rejects with `signal.reason`. @param owner - whose it is */
  async take(signal: AbortSignal, owner?: string): Promise<Disposable> {
    signal.throwIfAborted()
    if (!this.#waiting.has(owner) && this.#mayHave(owner)) {
      this.#give(owner)
      return this.#place(owner)
    }
    return await new Promise<Disposable>((resolve, reject) => {
      const call = (): void => {
        signal.removeEventListener('abort', leave)
        resolve(this.#place(owner))
      }
      const leave = (): void => {
        this.#remove(owner, call)
        reject(signal.reason)
      }
      signal.addEventListener('abort', leave, { once: true })
      const calls = this.#waiting.get(owner) ?? new Set()
      this.#waiting.set(owner, calls.add(call))
    })
  }

  #place(owner: string | undefined): Disposable {
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (!held) return
        held = false
        this.#taken--
        const left = (this.#held.get(owner) ?? 1) - 1
        if (left > 0) this.#held.set(owner, left)
        else this.#held.delete(owner)
        this.#advance()
      },
    }
  }

  #advance(): void {
    for (;;) {
      const next = this.#next()
      if (next === undefined) return
      const [owner, call] = next
      this.#remove(owner, call)
      const others = this.#waiting.get(owner)
      if (others !== undefined) {
        // Behind all others.
        this.#waiting.delete(owner)
        this.#waiting.set(owner, others)
      }
      this.#give(owner)
      call()
    }
  }

  #next(): readonly [string | undefined, () => void] | undefined {
    let next: readonly [string | undefined, () => void] | undefined
    let fewest = Number.POSITIVE_INFINITY
    for (const [owner, [first]] of this.#waiting) {
      const held = this.#held.get(owner) ?? 0
      if (first === undefined || held >= fewest || !this.#mayHave(owner)) continue
      next = [owner, first]
      fewest = held
    }
    return next
  }

  #mayHave(owner: string | undefined): boolean {
    if (this.#taken >= this.#count) return false
    if (owner === undefined || this.#count === 1) return true
    const others = Math.ceil(this.#count / ownerParts)
    return (this.#held.get(owner) ?? 0) < this.#count - others
  }

  #give(owner: string | undefined): void {
    this.#taken++
    this.#held.set(owner, (this.#held.get(owner) ?? 0) + 1)
  }

  #remove(owner: string | undefined, call: () => void): void {
    const calls = this.#waiting.get(owner)
    calls?.delete(call)
    if (calls?.size === 0) this.#waiting.delete(owner)
  }
}

function checkedCount(count: number): number {
  if (Number.isSafeInteger(count) && count >= 1) return count
  throw new RangeError(`There must be at least one place, got ${count}`)
}

/** A value that can be replaced while others work by it. */
export class Live<T> {
  #now: T
  readonly #listeners = new Set<() => void>()

  constructor(now: T) {
    this.#now = now
  }

  /** The value now. */
  get now(): T {
    return this.#now
  }

  /** Replaces the value, and tells those who listen. */
  set(now: T): void {
    this.#now = now
    for (const listener of Array.from(this.#listeners)) listener()
  }

  /** Calls after each change. The returned function ends the calls. */
  onChange(call: () => void): () => void {
    // Wrapped, so that a function that is given twice is called twice.
    const listener = (): void => call()
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

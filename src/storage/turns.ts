/** Runs work on one name after the other, on different names at the same time: creating and deleting a task must not meet. */
export class Turns {
  /** Undefined while nothing is under way: every task on disk has one of these, and an empty map takes 180 bytes. */
  #last: Map<string, Promise<void>> | undefined

  /** Runs `work` when all earlier work on this name has ended, well or not. */
  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const result = (this.#last?.get(name) ?? Promise.resolve()).then(work)
    const ended = result.then(
      () => undefined,
      // Whoever asked for the work is told by `result`; the next one only waits for its end.
      () => undefined,
    )
    this.#last ??= new Map()
    this.#last.set(name, ended)
    try {
      return await result
    } finally {
      this.#leave(name, ended)
    }
  }

  /** Whether work on this name is under way or waits. */
  busy(name: string): boolean {
    return this.#last?.has(name) === true
  }

  /** Resolves when all work asked for so far has ended. */
  async settled(): Promise<void> {
    if (this.#last !== undefined) await Promise.all(this.#last.values())
  }

  #leave(name: string, ended: Promise<void>): void {
    if (this.#last?.get(name) !== ended) return
    this.#last.delete(name)
    if (this.#last.size === 0) this.#last = undefined
  }
}

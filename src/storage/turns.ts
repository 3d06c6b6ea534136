/** Runs work on one name after the other, on different names at the same time: creating and deleting a task must not meet. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>()

  /** Runs `work` when all earlier work on this name has ended, well or not. */
  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const result = (this.#last.get(name) ?? Promise.resolve()).then(work)
    const ended = result.then(
      () => undefined,
      // Whoever asked for the work is told by `result`; the next one only waits for its end.
      () => undefined,
    )
    this.#last.set(name, ended)
    try {
      return await result
    } finally {
      if (this.#last.get(name) === ended) this.#last.delete(name)
    }
  }

  /** Whether work on this name is under way or waits. */
  busy(name: string): boolean {
    return this.#last.has(name)
  }

  /** Resolves when all work asked for so far has ended. */
  async settled(): Promise<void> {
    await Promise.all(this.#last.values())
  }
}

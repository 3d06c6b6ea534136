/** What must be freed, in the order in which it was acquired. Freed in reverse order, all of it even when a part fails. */
export class Closing {
  readonly #steps: ((timeoutMs: number) => Promise<void>)[] = []

  /** Frees this before everything that was added earlier. */
  add(step: (timeoutMs: number) => Promise<void>): void {
    this.#steps.push(step)
  }

  /** Frees everything. Rejects with the first failure, after all steps were taken. Does nothing the second time. */
  async run(timeoutMs: number): Promise<void> {
    const failures: unknown[] = []
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step(timeoutMs)
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}

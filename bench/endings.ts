import type { Ending } from '../test/support/cleanup.ts'

/** Stands where tests have their context: what is started for a benchmark ends with `await using`. */
export class Endings implements Ending, AsyncDisposable {
  readonly #releases: (() => Promise<void> | void)[] = []

  /** Called at the end. */
  after(fn: () => Promise<void> | void): void {
    this.#releases.push(fn)
  }

  /** Ends everything, what began last first. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const release of this.#releases.toReversed()) await release()
  }
}

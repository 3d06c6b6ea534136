import { abortable } from './scope.ts'

/** One at a time for each key, in the order of asking; different keys do not wait for each other. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<void>>()

  /** Keys that are in use now. */
  get size(): number {
    return this.#tails.size
  }

  /** Runs `work` when all earlier work of this key has ended. Aborting while waiting gives the place up. */
  async run<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve()
    let end = (): void => undefined
    const own = new Promise<void>((resolve) => {
      end = resolve
    })
    // Whoever comes next waits for this place and for all before it, also when this one is given up early.
    const tail = before.then(() => own)
    this.#tails.set(key, tail)
    try {
      await abortable(before, signal)
      return await work()
    } finally {
      end()
      void tail.then(() => {
        if (this.#tails.get(key) === tail) this.#tails.delete(key)
      })
    }
  }
}

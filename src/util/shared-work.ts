import { abortable } from './scope.ts'

/** Work that is done once for all who ask for it at the same time, and stopped when the last of them goes away. */
export class SharedWork<T> {
  readonly #under = new Map<
    string,
    { readonly result: Promise<T>; leave(): void; joined: number }
  >()

  /**
   * The result of `work` for this key: of the one that runs, or of a new one.
   *
   * @param work - gets a signal that fires, with the reason of the last one to leave, when nobody waits any more
   */
  async run(
    key: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted()
    const entry = this.#under.get(key) ?? this.#begin(key, work)
    entry.joined++
    try {
      return await abortable(entry.result, signal)
    } finally {
      entry.joined--
      if (entry.joined === 0) entry.leave()
    }
  }

  #begin(
    key: string,
    work: (signal: AbortSignal) => Promise<T>,
  ): { readonly result: Promise<T>; leave(): void; joined: number } {
    const controller = new AbortController()
    const result = work(controller.signal)
    const entry = {
      result,
      joined: 0,
      leave: () => {
        if (this.#under.get(key) === entry) this.#under.delete(key)
        controller.abort()
      },
    }
    // Everybody may have left before it fails; those who wait see the failure themselves.
    result.catch(() => undefined)
    this.#under.set(key, entry)
    return entry
  }
}

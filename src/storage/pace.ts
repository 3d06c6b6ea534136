/** Milliseconds that a long piece of work keeps the event loop before it lets others have a turn. A quarter of what `docs/limits.md` promises for a turn. */
export const turnMsMax = 5

/**
 * Cuts long work over many things into turns of the event loop: by time and not by count, because nobody knows what one thing costs on the machine at hand.
 *
 * @example
 * ```ts
 * const pace = new Pace()
 * for (const thing of many) {
 *   if (pace.due) await pace.rest()
 *   workOn(thing)
 * }
 * ```
 */
export class Pace {
  #since = performance.now()

  /** Others should have a turn now. */
  get due(): boolean {
    return performance.now() - this.#since >= turnMsMax
  }

  /** Lets them. */
  async rest(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve))
    this.#since = performance.now()
  }
}

/** How long and how often a fact outside of this process is looked at. */
export interface Patience {
  /** @defaultValue `30 000` */
  readonly timeoutMs?: number
  /** @defaultValue `50` */
  readonly everyMs?: number
}

/**
 * Looks until there is something other than `undefined` or `false`, and gives it. For facts that nobody announces: a port that answers, a file, a counter.
 * What `look` throws ends the wait.
 *
 * @throws Error that names `what` when the time is over
 */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  { timeoutMs = 30_000, everyMs = 50 }: Patience = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > deadline) throw new Error(`Not within ${timeoutMs} ms: ${what}`)
    await new Promise<void>((resolve) => {
      setTimeout(resolve, everyMs)
    })
  }
}

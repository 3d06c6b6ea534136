/** The part of a `TestContext` that clean-up needs. A `before`/`after` pair of a suite gives one as well: `{ after }`. */
export interface Ending {
  after(fn: () => Promise<void> | void): void
}

/** Releases that wait for the end of a test, in the order of their acquisition. */
const waiting = new WeakMap<Ending, (() => Promise<void> | void)[]>()

/**
 * Runs `release` at the end of the test, last acquired first. `t.after()` itself runs hooks first come, first served, and so would look for leaks
 * before the server is closed that was opened later. All releases run, also when one of them fails.
 */
export function cleanup(t: Ending, release: () => Promise<void> | void): void {
  const known = waiting.get(t)
  if (known !== undefined) {
    known.push(release)
    return
  }
  const releases = [release]
  waiting.set(t, releases)
  t.after(async () => {
    const errors: unknown[] = []
    for (let next = releases.pop(); next !== undefined; next = releases.pop()) {
      try {
        await next()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length === 1) throw errors[0]
    if (errors.length > 1) throw new AggregateError(errors, `${errors.length} releases failed`)
  })
}

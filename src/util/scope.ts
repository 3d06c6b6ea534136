import { setMaxListeners } from 'node:events'
import { type Clock, systemClock } from './clock.ts'

/**
 * The life of one operation: an `AbortSignal` that follows its parents and can have a time limit, and that lets go of all of them when disposed.
 *
 * `AbortSignal.any()` is not used: on Node 20 to 24 every signal made from a long-lived parent stays attached to it (nodejs/node #54614, #55351).
 *
 * @example
 * ```ts
 * using scope = new Scope([lifetime, signal], { timeoutMs: 5000, onTimeout: () => new Error('late') })
 * await read({ signal: scope.signal })
 * ```
 */
export class Scope implements Disposable {
  readonly #controller = new AbortController()
  readonly #releases: (() => void)[] = []

  constructor(parents: readonly (AbortSignal | undefined)[], limit?: ScopeLimit) {
    allowListeners(this.#controller.signal)
    for (const parent of parents) {
      if (parent === undefined) continue
      if (parent.aborted) {
        this.abort(parent.reason)
        return
      }
      const follow = (): void => this.abort(parent.reason)
      allowListeners(parent)
      parent.addEventListener('abort', follow, { once: true })
      this.#releases.push(() => parent.removeEventListener('abort', follow))
    }
    if (limit === undefined) return
    const clock = limit.clock ?? systemClock
    this.#releases.push(clock.after(limit.timeoutMs, () => this.abort(limit.onTimeout())))
  }

  /** Fires when a parent fires, when the time is over, or on `abort()`. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Ends the operation with this reason. The first reason stays. */
  abort(reason: unknown): void {
    this.#release()
    this.#controller.abort(reason)
  }

  /** Lets go of parents and timer without firing. */
  [Symbol.dispose](): void {
    this.#release()
  }

  #release(): void {
    for (const release of this.#releases.splice(0)) release()
  }
}

/** The time limit of a `Scope`. */
export interface ScopeLimit {
  /** Milliseconds until the signal fires. */
  readonly timeoutMs: number
  /** Makes the reason when time is over. */
  readonly onTimeout: () => unknown
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
}

/** Rejects with the signal's reason when it fires before the promise settles; the promise itself goes on and its late failure is ignored. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  // Nobody waits for it any more once the signal has fired.
  promise.catch(() => undefined)
  signal.throwIfAborted()
  let release = (): void => undefined
  const aborted = new Promise<never>((_, reject) => {
    const fail = (): void => reject(signal.reason)
    allowListeners(signal)
    signal.addEventListener('abort', fail, { once: true })
    release = () => signal.removeEventListener('abort', fail)
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    release()
  }
}

/**
 * As many operations may hang on a signal as there are. Each lets go when it ends, so a warning of Node, which prints one from the eleventh listener on,
 * would be wrong.
 */
export function allowListeners(signal: AbortSignal): void {
  setMaxListeners(0, signal)
}

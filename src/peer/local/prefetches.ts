import { Scope } from '../../util/scope.ts'
import type { Tasks, Want } from '../tasks.ts'
import type { Signals } from '../world.ts'

/** Whole contents that are fetched behind a range at the same time. One more is not begun: it was a wish, and the range comes without it. */
export const prefetchesMax: number = 16

/** Fetches whole contents of which a tool wanted a range. Nobody waits for them: they end when the peer closes. */
export class Prefetches {
  readonly #tasks: Tasks
  readonly #signals: Signals
  readonly #running = new Map<string, Promise<void>>()

  constructor(tasks: Tasks, signals: Signals) {
    this.#tasks = tasks
    this.#signals = signals
  }

  /** Begins to fetch the content, unless that is being done. */
  start(want: Want): void {
    const { id } = want.spec
    if (this.#running.has(id) || this.#running.size >= prefetchesMax) return
    const ended = this.#fetch(want)
      // The tool that asked for the range hears of failures that concern it; the rest can be asked for again.
      .catch(() => undefined)
      .then(() => void this.#running.delete(id))
    this.#running.set(id, ended)
  }

  /** Resolves when none runs any more. */
  async ended(): Promise<void> {
    await Promise.all(this.#running.values())
  }

  async #fetch(want: Want): Promise<void> {
    const { lifetime, closing } = this.#signals
    using scope = new Scope([lifetime, closing])
    const { share, task } = await this.#tasks.open(want, scope.signal)
    const release = task.hold()
    const leave = (): void => share?.leave(scope.signal.reason)
    scope.signal.addEventListener('abort', leave, { once: true })
    try {
      await share?.done
    } finally {
      share?.leave()
      release()
    }
  }
}

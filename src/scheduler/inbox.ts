import { type Deferred, deferred } from '../util/deferred.ts'
import { abortable } from '../util/scope.ts'

/** Answers that wait for the download to read them, at most. When it is full the stream is not read on, and the scheduler has to wait. */
export const unreadMax = 16

type InboxState =
  | { readonly is: 'open' }
  | { readonly is: 'ended' }
  | { readonly is: 'failed'; readonly error: unknown }

/** Answers on their way from the stream to the download: bounded, in order, with an end. */
export class Inbox<T> {
  readonly #items: T[] = []
  #state: InboxState = { is: 'open' }
  #changed: Deferred<void> = deferred()

  /** How many wait to be read. */
  get length(): number {
    return this.#items.length
  }

  /** Adds one, and resolves when there is room for another. Dropped after the end. */
  async push(item: T): Promise<void> {
    if (this.#state.is !== 'open') return
    this.#items.push(item)
    this.#change()
    while (this.#isOpen() && this.#items.length >= unreadMax) await this.#changed.promise
  }

  /** open → ended. What waits can still be read. */
  end(): void {
    if (this.#state.is !== 'open') return
    this.#state = { is: 'ended' }
    this.#change()
  }

  /** open → failed. What waits can still be read, then the error comes, once. */
  fail(error: unknown): void {
    if (this.#state.is !== 'open') return
    this.#state = { is: 'failed', error }
    this.#change()
  }

  /** The next one; undefined after the end. Rejects with the error of `fail`, once, or with the reason of the signal. */
  async next(signal: AbortSignal): Promise<T | undefined> {
    for (;;) {
      signal.throwIfAborted()
      if (this.#items.length > 0) {
        const item = this.#items.shift()
        this.#change()
        return item
      }
      const state = this.#state
      if (state.is === 'failed') {
        this.#state = { is: 'ended' }
        throw state.error
      }
      if (state.is === 'ended') return undefined
      await abortable(this.#changed.promise, signal)
    }
  }

  /** A method, because the compiler does not know that the state can change during an `await`. */
  #isOpen(): boolean {
    return this.#state.is === 'open'
  }

  #change(): void {
    this.#changed.resolve()
    this.#changed = deferred()
  }
}

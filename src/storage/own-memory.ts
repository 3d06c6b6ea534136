import { type Deferred, deferred } from '../util/deferred.ts'
import { Scope } from '../util/scope.ts'

/** Why a transfer ends when the memory is lent. It never leaves this file. */
const lent = new Error('The memory is in the hands of the application now')

/**
 * Whether memory is this library's alone. As long as it is, threads of the addon may write to it. Who has it in hand can detach its buffer, by transferring it to a worker say, and the
 * memory may be freed then: so nobody gets it before the last thread has let go.
 */
export class OwnMemory {
  readonly #lending = new AbortController()
  #users = 0
  #unused: Deferred<void> | undefined

  /** @param own - false: the application had it before */
  constructor(own: boolean) {
    if (!own) this.#lending.abort(lent)
  }

  /** Nobody else has it. */
  get own(): boolean {
    return !this.#lending.signal.aborted
  }

  /** Runs work that writes to the memory; its signal fires when it has to let go. Resolves with 0 without it, or when it had to. @throws what the work throws for another reason */
  async use(work: (signal: AbortSignal) => Promise<number>, signal: AbortSignal): Promise<number> {
    if (!this.own) return 0
    using scope = new Scope([this.#lending.signal, signal])
    this.#users++
    try {
      return await work(scope.signal)
    } catch (error) {
      if (error === lent) return 0
      throw error
    } finally {
      this.#users--
      if (this.#users === 0) this.#unused?.resolve()
    }
  }

  /** From now on it is not ours alone. Resolves when no thread writes to it any more. */
  async lend(): Promise<void> {
    this.#lending.abort(lent)
    if (this.#users === 0) return
    this.#unused ??= deferred()
    await this.#unused.promise
  }
}

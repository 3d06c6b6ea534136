import type { PeerError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import { Scope } from '../util/scope.ts'
import type { Failover, Outcome, Question } from './failover.ts'
import { unavailable } from './failure.ts'
import type { Call } from './nodes.ts'

/** What an `Asker` asks with. */
export interface AskerParts {
  readonly failover: Failover
  readonly addresses: () => readonly string[]
  readonly hostId: () => string
  readonly clock: Clock
  /** Fires when the client closes. */
  readonly lifetime: AbortSignal
}

/** Unary calls of one client: under its life and its caller's, in the name of its host. */
export class Asker {
  readonly #parts: AskerParts

  constructor(parts: AskerParts) {
    this.#parts = parts
  }

  /** What most messages carry. */
  names(taskId: string): { readonly hostId: string; readonly taskId: string } {
    return { hostId: this.#parts.hostId(), taskId }
  }

  /** Ends with the client, with the caller, or after a time. */
  scope(signal: AbortSignal, timeoutMs?: number): Scope {
    const { addresses, clock, lifetime } = this.#parts
    const parents = [lifetime, signal]
    if (timeoutMs === undefined) return new Scope(parents)
    const onTimeout = (): PeerError => unavailable(addresses(), `no answer within ${timeoutMs} ms`)
    return new Scope(parents, { timeoutMs, onTimeout, clock })
  }

  /** The outcome of the first scheduler that is there. */
  async ask<T>(question: Question, call: Call<T>, signal: AbortSignal): Promise<Outcome<T>> {
    using scope = this.scope(signal)
    return await this.#parts.failover.ask(question, call, scope.signal)
  }

  /** The value of an outcome. @throws PeerError SCHEDULER_UNAVAILABLE, SCHEDULER_REFUSED */
  result<T>(method: string, outcome: Outcome<T>): T {
    return this.#parts.failover.result(method, outcome)
  }

  /** For a question that may have no answer: who does not know it, or keeps nothing of the kind, says undefined. */
  async stat<T>(question: Question, call: Call<T>, signal: AbortSignal): Promise<T | undefined> {
    const outcome = await this.ask(question, call, signal)
    if (outcome.is === 'failed') {
      const { failure } = outcome
      if (failure.is === 'unknown') return undefined
      // A Go scheduler without Redis keeps no persistent kinds, and says so with these.
      const why = failure.is === 'refused' ? failure.why : undefined
      if (why === 'precondition' || why === 'unimplemented') return undefined
    }
    return this.result(question.method, outcome)
  }
}

import type { PeerError } from '../errors.ts'
import { refused, type SchedulerFailure, schedulerFailure, unavailable } from './failure.ts'
import type { Call, SchedulerNode, SchedulerNodes } from './nodes.ts'

/** How it went. */
export type Outcome<T> =
  | { readonly is: 'answered'; readonly value: T }
  | { readonly is: 'failed'; readonly failure: SchedulerFailure; readonly cause?: unknown }

/** What is asked, and for which task: the ring is entered at its owner. */
export interface Question {
  readonly method: string
  readonly taskId: string
  /** The scheduler must know this host for it. One that does not is told, and asked again. */
  readonly needsHost?: boolean
}

/** Asks the schedulers of a task one after the other until one answers. */
export class Failover {
  readonly #nodes: SchedulerNodes
  readonly #announceTo: (node: SchedulerNode) => Promise<void>
  readonly #timeoutMs: number

  constructor(
    nodes: SchedulerNodes,
    announceTo: (node: SchedulerNode) => Promise<void>,
    timeoutMs: number,
  ) {
    this.#nodes = nodes
    this.#announceTo = announceTo
    this.#timeoutMs = timeoutMs
  }

  /** The outcome of the first scheduler that is there; rejects only with the reason of the signal. */
  async ask<T>(question: Question, call: Call<T>, signal: AbortSignal): Promise<Outcome<T>> {
    signal.throwIfAborted()
    let last: Outcome<T> = { is: 'failed', failure: { is: 'gone', reason: 'no address is known' } }
    for (const node of this.#nodes.order(question.taskId)) {
      const release = node.hold()
      try {
        last = await this.#askNode(node, question, call, signal)
      } finally {
        release()
      }
      signal.throwIfAborted()
      if (last.is === 'answered') {
        node.up()
        return last
      }
      if (last.failure.is === 'gone') node.down(last.failure.reason)
      else if (last.failure.is !== 'busy') return last
    }
    return last
  }

  /** The value of an outcome. @throws PeerError SCHEDULER_UNAVAILABLE, SCHEDULER_REFUSED */
  result<T>(method: string, outcome: Outcome<T>): T {
    if (outcome.is === 'answered') return outcome.value
    throw this.error(method, outcome.failure, outcome.cause)
  }

  /** A failure as callers get it. */
  error(method: string, failure: SchedulerFailure, cause: unknown): PeerError {
    return failure.is === 'gone' || failure.is === 'busy'
      ? unavailable(this.#nodes.addresses, failure.reason, cause)
      : refused(method, failure.reason, cause)
  }

  async #askNode<T>(
    node: SchedulerNode,
    question: Question,
    call: Call<T>,
    signal: AbortSignal,
  ): Promise<Outcome<T>> {
    for (let announced = question.needsHost !== true; ; announced = true) {
      try {
        return { is: 'answered', value: await node.call(call, signal, this.#timeoutMs) }
      } catch (error) {
        const failure = schedulerFailure(error)
        if (failure.is !== 'unknown' || announced || signal.aborted) {
          return { is: 'failed', failure, cause: error }
        }
      }
      try {
        await this.#announceTo(node)
      } catch (error) {
        return { is: 'failed', failure: schedulerFailure(error), cause: error }
      }
    }
  }
}

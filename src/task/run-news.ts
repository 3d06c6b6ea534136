import { type ErrorCode, PeerError } from '../errors.ts'
import { publish } from '../hooks.ts'
import { shownParent } from './origin-gate.ts'
import type { Piece } from './piece.ts'
import type { TrafficKind } from './ports.ts'

/** What a run publishes for those who watch; nobody in here listens. */
export class RunNews {
  readonly #task: string

  /** @param task - id of the task */
  constructor(task: string) {
    this.#task = task
  }

  /** The run begins to work. */
  started(contentLength: number): void {
    publish('dragonfly-peer:task:started', () => ({ task: this.#task, contentLength }))
  }

  /** A piece is kept. */
  kept(
    { number, length }: Piece,
    from: {
      readonly parent: string
      readonly traffic: Exclude<TrafficKind, 'local'>
      readonly costMs: number
      readonly transport: string | undefined
    },
  ): void {
    const { parent, traffic, costMs, transport } = from
    publish('dragonfly-peer:piece:kept', () => ({
      task: this.#task,
      number,
      length,
      parent: shownParent(parent),
      traffic,
      costMs,
      ...(transport === undefined ? {} : { transport }),
    }))
  }

  /** A fetch failed. */
  failed({ number }: Piece, parent: string, error: unknown): void {
    if (!PeerError.is(error)) return
    publish('dragonfly-peer:piece:failed', () => ({
      task: this.#task,
      number,
      parent: shownParent(parent),
      code: error.code,
    }))
  }

  /** A parent is given up. */
  dropped(parent: string, code: ErrorCode): void {
    publish('dragonfly-peer:parent:dropped', () => ({ task: this.#task, parent, code }))
  }

  /** The run has failed. */
  lost(code: ErrorCode | 'ABORTED'): void {
    publish('dragonfly-peer:task:failed', () => ({ task: this.#task, code }))
  }

  /** The run has all that was wanted. */
  finished(
    contentLength: number,
    bytes: { readonly source: number; readonly peer: number },
    tookMs: number,
  ): void {
    publish('dragonfly-peer:task:finished', () => ({
      task: this.#task,
      contentLength,
      sourceBytes: bytes.source,
      peerBytes: bytes.peer,
      tookMs,
    }))
  }
}

import { PeerError } from '../errors.ts'
import { publish } from '../hooks.ts'
import type { TaskKind } from '../task/kind.ts'
import type { OpenPiece } from '../task/ports.ts'
import { Scope } from '../util/scope.ts'
import { FairSlots } from '../util/fair-slots.ts'
import type { PlaceGate, TransportHost } from './transport.ts'
import { Turns } from './turns.ts'

/** Longest wait for a piece that is being fetched right now, in milliseconds. A Rust child gives up after as long. */
export const holdTimeoutMsDefault = 360_000

/** What a child wants. */
export interface Wanted {
  readonly taskId: string
  readonly kind: TaskKind
  readonly number: number
}

/** One upload, for `explain()`. */
export interface UploadState {
  readonly task: string
  readonly number: number
  /** Waiting for the piece to be there, for its turn, or sending. */
  readonly is: 'opening' | 'waiting' | 'sending'
}

/** What every serving transport does around the bytes: finds the piece, waits for a turn, tells that it went. */
export class Uploads {
  readonly #host: TransportHost
  readonly #transport: string
  readonly #holdTimeoutMs: number
  readonly #slots: PlaceGate
  readonly #turns: Turns
  readonly #running = new Set<{ -readonly [K in keyof UploadState]: UploadState[K] }>()

  constructor(host: TransportHost, transport: string, holdTimeoutMs: number) {
    this.#host = host
    this.#transport = transport
    this.#holdTimeoutMs = holdTimeoutMs
    this.#slots = host.uploadPlaces ?? new FairSlots(host.uploadSlots)
    this.#turns = new Turns(host.uploadRate, host.clock)
  }

  /**
   * Serves one piece: `send` gets it when its turn has come. The turn is taken after the piece is there, so that pieces which are still on
   * their way here hold nobody up.
   *
   * @param from - address of the child, where it is known
   * @throws whatever the shelf or `send` throws; PeerError LIMIT_REACHED when the piece did not appear in time; the reason of `signal`
   */
  async serve(
    wanted: Wanted,
    signal: AbortSignal,
    send: (open: OpenPiece) => Promise<void>,
    from?: string,
  ): Promise<void> {
    const state: { is: UploadState['is']; task: string; number: number } = {
      is: 'opening',
      task: wanted.taskId,
      number: wanted.number,
    }
    this.#running.add(state)
    try {
      const open = await this.#open(wanted, signal)
      try {
        state.is = 'waiting'
        using _ = await this.#turns.take(`${wanted.taskId} ${wanted.number}`, signal)
        await this.#place(from, signal, () => {
          state.is = 'sending'
          return send(open)
        })
      } finally {
        open.close()
      }
      publish('dragonfly-peer:piece:served', () => ({
        task: wanted.taskId,
        number: wanted.number,
        length: open.piece.length,
        transport: this.#transport,
      }))
    } finally {
      this.#running.delete(state)
    }
  }

  /** What is being served, as plain data. */
  explain(): UploadState[] {
    return [...this.#running].map((state) => ({ ...state }))
  }

  async #place(
    from: string | undefined,
    signal: AbortSignal,
    work: () => Promise<void>,
  ): Promise<void> {
    using _ = await this.#slots.take(signal, from)
    await work()
  }

  async #open(wanted: Wanted, signal: AbortSignal): Promise<OpenPiece> {
    using scope = new Scope([signal], {
      timeoutMs: this.#holdTimeoutMs,
      clock: this.#host.clock,
      onTimeout: () =>
        new PeerError('LIMIT_REACHED', 'The piece did not appear in time', {
          limit: 'holdTimeoutMs',
          value: this.#holdTimeoutMs,
        }),
    })
    return await this.#host.shelf.open(wanted, scope.signal)
  }
}

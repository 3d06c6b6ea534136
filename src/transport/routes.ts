import { PeerError } from '../errors.ts'
import { publish } from '../hooks.ts'
import type { ParentAddress, PieceReader, PieceRequest, Received, Slot } from '../task/ports.ts'
import { unreachable } from './parent-errors.ts'
import type { Transport } from './transport.ts'

/**
 * The ways to parents, best first: a piece takes the first one that reaches the parent, and the next one when that fails.
 */
export class Routes implements PieceReader {
  readonly #transports: readonly Transport[]

  /** @param transports - in the order in which they are tried */
  constructor(transports: readonly Transport[]) {
    this.#transports = [...transports]
  }

  /** Whether there is any way to this parent. */
  reaches(from: ParentAddress): boolean {
    return this.#transports.some((transport) => transport.reaches(from))
  }

  /**
   * Reads over the first way that works. A refusal is the parent's word, whatever the way: nothing else is tried then. Bytes that are in the slot are
   * forgotten before the next way begins.
   *
   * @throws PeerError PARENT_UNREACHABLE (also when no way leads there), PARENT_PROTOCOL, PARENT_REFUSED
   */
  async read(
    from: ParentAddress,
    request: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    const ways = this.#transports.filter((transport) => transport.reaches(from))
    for (const [at, way] of ways.entries()) {
      const next = ways[at + 1]
      try {
        return { ...(await way.read(from, request, slot, signal)), transport: way.name }
      } catch (error) {
        const failed = PeerError.is(error, 'PARENT_UNREACHABLE', 'PARENT_PROTOCOL')
        const whole = slot.filled === request.piece.length
        if (!failed || next === undefined || whole || signal.aborted) throw error
        // Also when nothing seems to have come: it waits for a transfer that has not told of its bytes yet.
        await slot.rewind()
        publish('dragonfly-peer:transport:fallback', () => ({
          parent: from.parent.id,
          from: way.name,
          to: next.name,
          reason: error.message,
        }))
        signal.throwIfAborted()
      }
    }
    throw unreachable(from.parent.id, 'No transport leads there')
  }
}

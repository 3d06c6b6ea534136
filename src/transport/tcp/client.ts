import { PeerError } from '../../errors.ts'
import type { ParentAddress, PieceRequest, Received, Slot } from '../../task/ports.ts'
import type { Clock } from '../../util/clock.ts'
import type { Lifetime } from '../lifetime.ts'
import { unreachable } from '../parent-errors.ts'
import { isVortexTaskId } from '../vortex.ts'
import { type TcpAddress, tcpAddress } from './address.ts'
import { ConnectionPool } from './connection-pool.ts'
import type { TcpSettings } from './options.ts'
import { ParentConnection } from './parent-connection.ts'

/** The reading side: one connection for each piece that is on its way, kept for the next one where the parent allows. */
export class TcpClient {
  readonly #settings: TcpSettings
  readonly #clock: Clock
  readonly #lifetime: Lifetime
  readonly #pool: ConnectionPool
  readonly #reads = new Set<{ from: ParentAddress; request: PieceRequest; slot: Slot }>()

  constructor(settings: TcpSettings, clock: Clock, lifetime: Lifetime) {
    this.#settings = settings
    this.#clock = clock
    this.#lifetime = lifetime
    this.#pool = new ConnectionPool(settings, clock)
    lifetime.signal.addEventListener('abort', () => this.dropIdle(), { once: true })
  }

  /** See `PieceReader.read`. A kept connection that turns out to be dead is replaced once, in silence. */
  async read(
    from: ParentAddress,
    request: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    if (slot.filled !== 0) throw new RangeError(`The slot holds ${slot.filled} bytes already`)
    return await this.#lifetime.run(signal, async (scope) => {
      const to = tcpAddress(from.endpoint)
      if (to === undefined) throw unreachable(from.parent.id, 'It serves no TCP')
      if (!isVortexTaskId(request.taskId)) {
        throw unreachable(from.parent.id, 'The protocol cannot carry this task id')
      }
      const read = { from, request, slot }
      this.#reads.add(read)
      try {
        return await this.#read(to, from.parent.id, request, slot, scope)
      } finally {
        this.#reads.delete(read)
      }
    })
  }

  /** Closes the connections that wait for the next piece. */
  dropIdle(): void {
    this.#pool.clear()
  }

  /** What is open now, as plain data. */
  explain(): unknown {
    return {
      reads: [...this.#reads].map(({ from, request, slot }) => ({
        parent: from.parent.id,
        task: request.taskId,
        number: request.piece.number,
        length: request.piece.length,
        filled: slot.filled,
      })),
      idleConnections: this.#pool.count,
      parentsThatClose: this.#pool.closers,
    }
  }

  async #read(
    to: TcpAddress,
    parent: string,
    request: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    const kept = await this.#pool.take(to.text)
    if (kept !== undefined) {
      try {
        return await this.#readOver(kept, to, parent, request, slot, signal)
      } catch (error) {
        const died = PeerError.is(error, 'PARENT_UNREACHABLE') && !kept.answered
        if (!died || signal.aborted) throw error
        // The parent closed it while the request was on its way; it never saw the request.
      }
    }
    const fresh = new ParentConnection(to, parent, this.#settings, this.#clock)
    fresh.onClosed = (byParent) => this.#pool.drop(to.text, fresh, byParent)
    await fresh.open(signal)
    return await this.#readOver(fresh, to, parent, request, slot, signal)
  }

  async #readOver(
    connection: ParentConnection,
    to: TcpAddress,
    parent: string,
    request: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    try {
      signal.throwIfAborted()
      return await connection.read(parent, request, slot, signal)
    } finally {
      if (this.#lifetime.closed) connection.destroy(undefined)
      this.#pool.give(to.text, connection)
    }
  }
}

import { PeerError } from '../../errors.ts'
import type { ParentAddress, PieceRequest, Received, Slot } from '../../task/ports.ts'
import { Scope } from '../../util/scope.ts'
import type { Lifetime } from '../lifetime.ts'
import { unreachable } from '../parent-errors.ts'
import type { TransportHost } from '../transport.ts'
import { answerTimeoutMs, idleTimeoutMs, parentConnectionsMax } from './limits.ts'
import { ParentConnection } from './parent-connection.ts'
import type { Port } from './port.ts'
import { Standing } from './standing.ts'

/** The reading side: one connection for each parent host. */
export class RdmaClient {
  readonly #port: Port
  readonly #host: TransportHost
  readonly #stallTimeoutMs: number
  readonly #lifetime: Lifetime
  readonly #standing: Standing
  /** In order of last use. */
  readonly #connections = new Map<string, ParentConnection>()
  readonly #tidying = new Set<Promise<void>>()
  readonly #ending = new Set<Promise<void>>()
  #stopTimer: (() => void) | undefined

  constructor(port: Port, host: TransportHost, stallTimeoutMs: number, lifetime: Lifetime) {
    this.#port = port
    this.#host = host
    this.#stallTimeoutMs = stallTimeoutMs
    this.#lifetime = lifetime
    this.#standing = new Standing(host.clock)
  }

  /** Whether this parent is tried now. */
  reaches({ parent }: ParentAddress): boolean {
    return (
      this.#host.rdma !== undefined &&
      this.#port.open !== undefined &&
      this.#standing.isOpen(keyOf(parent))
    )
  }

  /** See `PieceReader.read`. A connection that the parent does not know any more is replaced once, in silence. */
  async read(
    from: ParentAddress,
    request: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    if (slot.filled !== 0) throw new RangeError(`The slot holds ${slot.filled} bytes already`)
    return await this.#lifetime.run(signal, async (scope) => {
      const known = this.#connections.get(keyOf(from.parent))
      if (known !== undefined) {
        try {
          return await this.#readOver(known, from, request, slot, scope)
        } catch (error) {
          if (known.over?.is !== 'stale' || slot.filled > 0 || scope.aborted) throw error
        }
      }
      return await this.#readOver(this.#connect(from), from, request, slot, scope)
    })
  }

  /** All connections end for this reason. */
  drop(reason: string): void {
    for (const connection of [...this.#connections.values()]) {
      void connection.end({ is: 'closed', reason, cause: undefined })
    }
  }

  /** The queue pair with this number broke. */
  onQueuePair(number: number): void {
    for (const connection of [...this.#connections.values()]) {
      if (connection.number !== number) continue
      void connection.end({ is: 'broken', reason: 'The queue pair failed', cause: undefined })
    }
  }

  /** Ends what is left. Resolves when parents were told and all queue pairs are freed. */
  async close(): Promise<void> {
    this.drop('Closed')
    this.#stopTimer?.()
    await Promise.all([...this.#ending, ...this.#tidying])
  }

  /** What is open now, as plain data. */
  explain(): unknown {
    return {
      connections: [...this.#connections.values()].map(({ parent, users }) => ({
        parent: keyOf(parent),
        pieces: users,
      })),
      leftAlone: this.#standing.explain(),
    }
  }

  async #readOver(
    connection: ParentConnection,
    from: ParentAddress,
    request: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    const received = await connection.read(from.parent.id, request, slot, signal)
    const key = keyOf(from.parent)
    this.#standing.onWorks(key)
    if (this.#connections.get(key) === connection) {
      this.#connections.delete(key)
      this.#connections.set(key, connection)
    }
    this.#watchIdle()
    return received
  }

  #connect({ parent }: ParentAddress): ParentConnection {
    const key = keyOf(parent)
    const there = this.#connections.get(key)
    if (there !== undefined) return there
    const control = this.#host.rdma
    const port = this.#port.open
    if (control === undefined || port === undefined) {
      throw unreachable(parent.id, `There is no RDMA here: ${this.#port.reason}`)
    }
    const connection = new ParentConnection(
      {
        port,
        control,
        clock: this.#host.clock,
        stallTimeoutMs: this.#stallTimeoutMs,
        tidy: (work) => this.#tidy(work),
        onOver: (ended) => this.#onOver(key, ended),
      },
      parent,
    )
    this.#connections.set(key, connection)
    this.#makeRoom()
    return connection
  }

  #onOver(key: string, connection: ParentConnection): void {
    if (this.#connections.get(key) === connection) this.#connections.delete(key)
    const { over, worked } = connection
    if (over?.is === 'without') this.#standing.onWithout(key, over.reason)
    else if (over?.is === 'broken' || (over?.is === 'stale' && !worked)) {
      this.#standing.onFailed(key, over.reason)
    }
    const ending = connection.end({ is: 'closed', reason: '', cause: undefined })
    this.#ending.add(ending)
    void ending.finally(() => this.#ending.delete(ending))
  }

  #makeRoom(): void {
    if (this.#connections.size <= parentConnectionsMax) return
    for (const connection of this.#connections.values()) {
      if (connection.users > 0) continue
      void connection.end({ is: 'closed', reason: 'Another parent', cause: undefined })
      return
    }
  }

  /** One timer for all: a connection that was not used from one look to the next but one is closed. */
  #watchIdle(): void {
    if (this.#stopTimer !== undefined || this.#lifetime.closed) return
    this.#stopTimer = this.#host.clock.after(idleTimeoutMs, () => {
      this.#stopTimer = undefined
      for (const connection of [...this.#connections.values()]) {
        connection.letGo()
        if (connection.wasIdle()) {
          void connection.end({ is: 'closed', reason: 'Idle', cause: undefined })
        }
      }
      if (this.#connections.size > 0) this.#watchIdle()
    })
  }

  /** Calls that tell a parent what is over. It finds out by itself when they fail. */
  #tidy(work: (signal: AbortSignal) => Promise<void>): void {
    const run = async (): Promise<void> => {
      using scope = new Scope([], {
        timeoutMs: answerTimeoutMs,
        onTimeout: () => new PeerError('CLOSED', 'No answer in time', { what: 'lease' }),
        clock: this.#host.clock,
      })
      await work(scope.signal)
    }
    const tidying = run().catch(() => undefined)
    this.#tidying.add(tidying)
    void tidying.finally(() => this.#tidying.delete(tidying))
  }
}

function keyOf(parent: { readonly ip: string; readonly port: number }): string {
  return `${parent.ip} ${parent.port}`
}

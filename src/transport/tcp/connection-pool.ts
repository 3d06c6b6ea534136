import type { Clock } from '../../util/clock.ts'
import type { TcpSettings } from './options.ts'
import type { ParentConnection } from './parent-connection.ts'

/**
 * Idle connections to parents, kept for the next piece; the newest is used first.
 *
 * The Rust daemon serves one piece for each connection and closes it. That is learnt: such a parent gets a new connection for each piece, and nobody
 * tries its old ones.
 */
export class ConnectionPool {
  readonly #settings: TcpSettings
  readonly #clock: Clock
  /** By parent address, oldest first. */
  readonly #idle = new Map<string, Map<ParentConnection, () => void>>()
  /** Addresses that close after one piece, and until when that is believed. The oldest knowledge comes first. */
  readonly #closers = new Map<string, number>()
  #count = 0

  constructor(settings: TcpSettings, clock: Clock) {
    this.#settings = settings
    this.#clock = clock
  }

  /** Idle connections. */
  get count(): number {
    return this.#count
  }

  /** Addresses known to close after one piece. */
  get closers(): string[] {
    return [...this.#closers.keys()]
  }

  /** An idle connection to this address that still lives. */
  async take(address: string): Promise<ParentConnection | undefined> {
    for (;;) {
      const connection = this.#newest(address)
      if (connection === undefined) return undefined
      await connection.settled
      if (connection.idle) return connection
    }
  }

  /** The connection is idle again: it is kept or closed. */
  give(address: string, connection: ParentConnection): void {
    if (!connection.idle) return
    const kept = this.#idle.get(address)
    const full =
      this.#count >= this.#settings.idleMax || (kept?.size ?? 0) >= this.#settings.idlePerParentMax
    if (full || this.#closesAfterOne(address)) {
      connection.destroy(undefined)
      return
    }
    const stopTimer = this.#clock.after(this.#settings.idleTimeoutMs, () =>
      connection.destroy(undefined),
    )
    if (kept === undefined) this.#idle.set(address, new Map([[connection, stopTimer]]))
    else kept.set(connection, stopTimer)
    this.#count++
  }

  /** The connection is over, kept here or not; `byParent`: the parent closed it while it owed nothing. */
  drop(address: string, connection: ParentConnection, byParent: boolean): void {
    this.#remove(address, connection)
    if (byParent) this.#learn(address, connection)
  }

  /** Closes all idle connections. */
  clear(): void {
    for (const kept of [...this.#idle.values()]) {
      for (const connection of [...kept.keys()]) connection.destroy(undefined)
    }
  }

  #learn(address: string, connection: ParentConnection): void {
    const sinceMs = this.#clock.now() - connection.doneAt
    if (connection.pieces !== 1 || sinceMs > closedAtOnceMs) return
    this.#closers.delete(address)
    this.#closers.set(address, this.#clock.now() + closersMemoryMs)
    for (const oldest of this.#closers.keys()) {
      if (this.#closers.size <= closersMax) return
      this.#closers.delete(oldest)
    }
  }

  #newest(address: string): ParentConnection | undefined {
    const kept = this.#idle.get(address)
    if (kept === undefined) return undefined
    const connection = [...kept.keys()].at(-1)
    if (connection !== undefined) this.#remove(address, connection)
    return connection
  }

  #remove(address: string, connection: ParentConnection): void {
    const kept = this.#idle.get(address)
    const stopTimer = kept?.get(connection)
    if (kept === undefined || stopTimer === undefined) return
    stopTimer()
    kept.delete(connection)
    if (kept.size === 0) this.#idle.delete(address)
    this.#count--
  }

  #closesAfterOne(address: string): boolean {
    const until = this.#closers.get(address)
    if (until === undefined) return false
    if (until > this.#clock.now()) return true
    this.#closers.delete(address)
    return false
  }
}

/** A parent that ends the connection within this time after its first piece does so on principle. */
const closedAtOnceMs = 1000
/** How long a parent is believed to close after one piece; another program may listen there later. */
const closersMemoryMs = 600_000
/** Most addresses remembered. */
const closersMax = 1024

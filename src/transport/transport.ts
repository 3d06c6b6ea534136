import type { ParentAddress, PieceReader, Shelf } from '../task/ports.ts'
import type { Clock } from '../util/clock.ts'

/** A way for pieces to travel between peers: the reading side, the serving side, or both. */
export interface Transport extends PieceReader {
  /** `tcp`, `rdma`, `memory`: for events and `explain()`. */
  readonly name: string
  /** Whether this parent can be reached this way. */
  reaches(from: ParentAddress): boolean
  /** Starts to serve. Resolves with where. @throws PeerError LISTEN_FAILED */
  listen(): Promise<{ readonly ip: string; readonly port: number } | undefined>
  /** What is open now, as plain data. */
  explain(): unknown
  /** Takes no new work, lets running transfers end within `timeoutMs`, frees everything. Safe to call twice. */
  close(timeoutMs?: number): Promise<void>
  /** Frees everything now. Safe to call twice. */
  destroy(reason: unknown): void
}

/** What the peer gives to a transport. The user's own options go to the factory: `tcp(options)` makes a `TransportFactory`. */
export interface TransportHost {
  /** What can be served. */
  readonly shelf: Shelf
  /** Address to listen on, and port (0 = any free one). */
  readonly listen: { readonly ip: string; readonly port: number }
  /** Bytes per second that all uploads together may use, changeable at run time. */
  readonly uploadRate: RateGate
  /** Pieces sent at the same time; the others wait in order. */
  readonly uploadSlots: number
  /** Time for pacing and time limits. */
  readonly clock: Clock
}

/** Makes a transport for one peer. */
export type TransportFactory = (host: TransportHost) => Transport

/** Paces bytes. `util/rate.ts` has the token bucket that implements it. */
export interface RateGate {
  /** Resolves when `byteCount` more bytes may go. At once when there is no limit. */
  take(byteCount: number, signal: AbortSignal): Promise<void>
}

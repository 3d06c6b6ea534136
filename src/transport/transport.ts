import type { ParentAddress, PieceReader, Shelf } from '../task/ports.ts'
import type { Clock } from '../util/clock.ts'
import type { RdmaControl, RdmaService } from './rdma/control.ts'

/** A way for pieces to travel between peers: the reading side, the serving side, or both. */
export interface Transport extends PieceReader {
  /** `tcp`, `rdma`, `memory`: for events and `explain()`. */
  readonly name: string
  /** Whether this parent can be reached this way. */
  reaches(from: ParentAddress): boolean
  /** Starts to serve. Resolves with where. @throws PeerError LISTEN_FAILED */
  listen(): Promise<{ readonly ip: string; readonly port: number } | undefined>
  /** What other peers ask of this transport over gRPC, for one that needs that. */
  readonly rdma?: RdmaService
  /**
   * Memory that this transport reads into without a copy. Undefined: it has no such memory now, and ordinary memory does. Missing: it never has.
   *
   * @param ready - whether it is made ready for that at once, and stays so; else when it is first read into. @defaultValue `false`
   */
  allocate?(byteLength: number, ready?: boolean): Promise<ArrayBuffer | undefined>
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
  /** Pieces sent at the same time; the others wait, and children of different addresses have their turn one after the other. */
  readonly uploadSlots: number
  /** The places themselves, where all transports of a peer share them and their number changes at run time. @defaultValue `uploadSlots` places of one's own */
  readonly uploadPlaces?: PlaceGate
  /** Time for pacing and time limits. */
  readonly clock: Clock
  /** Address by which others reach this host. @defaultValue the address to listen on */
  readonly hostIp?: string
  /** Asks parents over gRPC, for transports that set up their connections there. Without it they reach nobody. */
  readonly rdma?: RdmaControl
}

/** Makes a transport for one peer. */
export type TransportFactory = (host: TransportHost) => Transport

/** Gives out places. `util/fair-slots.ts` has the one that implements it. */
export interface PlaceGate {
  /** Resolves with a place; dispose it to give it back. Rejects with the reason of the signal. @param owner - address of the child, where it is known: one alone does not get all of them */
  take(signal: AbortSignal, owner?: string): Promise<Disposable>
}

/** Paces bytes. `util/rate.ts` has the token bucket that implements it. */
export interface RateGate {
  /** Resolves when `byteCount` more bytes may go. At once when there is no limit. */
  take(byteCount: number, signal: AbortSignal): Promise<void>
  /** Whether there is a limit now. Undefined: not known, so there may be one. */
  readonly limited?: boolean
  /** Takes that wait now. Undefined: not known. */
  readonly waiting?: number | undefined
}

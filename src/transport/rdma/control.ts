import type { TaskKind } from '../../task/kind.ts'
import type { Parent } from '../../task/ports.ts'

/** One end of a connection, as it travels: the shape of Dragonfly's `IBVerbsQueuePairEndpoint`. Packet numbers are 0 on both sides. */
export interface QueuePairEndpoint {
  /** 24 bits. */
  readonly num: number
  /** 16 bits; 0 on Ethernet. */
  readonly lid: number
  /** 16 bytes. */
  readonly gid: Uint8Array
}

/** What a parent says about its port before anything is set up. */
export interface RdmaOffer {
  /** Bytes of its active MTU: 256, 512, 1024, 2048 or 4096. */
  readonly mtu: number
  /** READs that it answers at a time, 1 to 255. */
  readonly readsMax: number
}

/** What a child wants to read. */
export interface LeaseRequest {
  /** The number that the parent answered in the exchange: which connection the lease is for. */
  readonly queuePair: number
  /** MTU that the child chose: the smaller one of both ports. The same in all requests for one connection. */
  readonly mtu: number
  /** 64 hex digits. */
  readonly taskId: string
  /** Of the task. */
  readonly kind: TaskKind
  /** Numbers of pieces, each at most once. */
  readonly pieces: readonly number[]
  /**
   * For one piece: wait until it is there and there is room, refuse when that cannot be. Else nothing is waited for: only pieces that lie in registered memory
   * are leased, the others are left out.
   */
  readonly wait: boolean
}

/** Where a leased piece lies in the parent's memory. */
export interface LeasedPiece {
  /** Of the piece. */
  readonly number: number
  /** Where it begins in the content. */
  readonly offset: number
  /** Bytes. */
  readonly length: number
  /** In string form; empty if unknown. */
  readonly digest: string
  /** Of its first byte, 64 bits. */
  readonly address: bigint
  /** Of the registration, 32 bits. */
  readonly key: number
}

/** The right to read some pieces for a time. */
export interface Lease {
  /** Not to be guessed; empty when nothing was leased. */
  readonly id: string
  /** From now on. */
  readonly ttlMs: number
  /** What may be read. */
  readonly pieces: readonly LeasedPiece[]
  /** Further pieces of this task can be leased without waiting. */
  readonly more: boolean
}

/**
 * What a child says to a parent over the authenticated control channel. `peer` implements it over gRPC.
 *
 * Rejects with PARENT_UNREACHABLE (also: it does not know the connection or the lease any more), PARENT_REFUSED (it cannot serve the piece; from `offer()`: it
 * has no RDMA), LIMIT_REACHED (it has no room now, or the piece broke off) or PARENT_PROTOCOL (an answer that cannot be read). Figures in answers are not
 * compared here.
 */
export interface RdmaControl {
  /** Asked first. Unlike `exchange` it is a method of our own service, so a daemon of another make that cannot stand the question is not asked it. */
  offer(parent: Parent, signal: AbortSignal): Promise<RdmaOffer>
  /** Trades the ends of a connection. */
  exchange(parent: Parent, own: QueuePairEndpoint, signal: AbortSignal): Promise<QueuePairEndpoint>
  /** Asks for the right to read pieces. */
  lease(parent: Parent, request: LeaseRequest, signal: AbortSignal): Promise<Lease>
  /** The new time to live. */
  renew(parent: Parent, lease: string, signal: AbortSignal): Promise<number>
  /** `read`: the pieces of the lease that were read to the end. */
  release(
    parent: Parent,
    lease: string,
    read: readonly number[],
    signal: AbortSignal,
  ): Promise<void>
}

/**
 * What a parent does when it is asked. The transport implements it, `peer` calls it for the gRPC service. `caller` tells callers apart for the bounds: the
 * address of the connection.
 *
 * Rejects with CLOSED (no RDMA now, or it does not know the connection or the lease), LIMIT_REACHED (no room now, or the piece broke off), TASK_NOT_FOUND,
 * whatever the shelf throws; TypeError for a malformed request.
 */
export interface RdmaService {
  /** What the port of this peer can do. */
  offer(): RdmaOffer
  /** Trades the ends of a connection. */
  /** Makes this end of a connection. */
  exchange(
    remote: QueuePairEndpoint,
    caller: string,
    signal: AbortSignal,
  ): Promise<QueuePairEndpoint>
  /** Exposes pieces to the connection of the caller. */
  lease(request: LeaseRequest, caller: string, signal: AbortSignal): Promise<Lease>
  /** Gives more time; the new time to live. */
  renew(lease: string, caller: string): number
  /** The caller is done; `read` are the pieces that it read to the end. */
  release(lease: string, read: readonly number[], caller: string): void
}

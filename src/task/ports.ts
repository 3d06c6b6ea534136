import type { TaskKind } from './kind.ts'
import type { Geometry, Piece, Range } from './piece.ts'

/**
 * What the engine needs from the world. Transports, stores, sources and schedulers implement these; so do tests and the simulation.
 * Every call takes its `signal`; a call that is aborted rejects with `signal.reason` and leaves nothing behind.
 */

/** What is wanted: enough to find the task in the network and, where it has one, at its origin. */
export interface TaskSpec {
  readonly id: string
  readonly kind: TaskKind
  /** Origin. Missing for a task that is known by its id alone. May hold credentials: never goes into errors or events unredacted. */
  readonly url?: string
  readonly tag?: string
  readonly application?: string
  /** Expected digest of the whole content, in string form. */
  readonly digest?: string
  readonly filteredQueryParams: readonly string[]
  /** Request headers for the origin. Secret. */
  readonly headers: Readonly<Record<string, string>>
  /** Only when the user chose one: it is a part of the id. */
  readonly pieceLength?: number
  /** 0 to 6, as `common.v2.Priority`. */
  readonly priority: number
  /** Time to live of a persistent kind, in milliseconds. */
  readonly ttlMs?: number
  /** Copies of a persistent kind that its importer asked for, when that is known. */
  readonly replicas?: number
}

/** A peer that may have pieces: one entry of a scheduler's answer. */
export interface Parent {
  /** Peer id: unique for (host, task, download). The key in every table of parents. */
  readonly id: string
  /** Id of its host: two peers of one host never exchange pieces. */
  readonly hostId: string
  /** A literal address. */
  readonly ip: string
  /** Port of its gRPC upload service. */
  readonly port: number
  /** Whether its host is a seed peer. */
  readonly seed: boolean
}

/** Where a parent serves pieces; learnt from its SyncPieces answers. */
export interface PieceEndpoint {
  /** A literal address. */
  readonly ip: string
  /** Port for Vortex over TCP, if it has one. */
  readonly tcpPort?: number
  /** Port for Vortex over QUIC, if it has one. */
  readonly quicPort?: number
}

/** A parent together with where it serves pieces. */
export interface ParentAddress {
  /** Who it is. */
  readonly parent: Parent
  /** Where it serves pieces. */
  readonly endpoint: PieceEndpoint
}

/** What a parent told: it has this piece. */
export interface Have {
  readonly number: number
  readonly offset: number
  readonly length: number
  readonly endpoint: PieceEndpoint
  /** Digest of the piece as it lies there now, in string form. Parents that are not of this package tell it with the piece only. */
  readonly digest?: string
  /** Token of the version of the content that it holds. Missing when it does not know, and from parents that are not of this package. */
  readonly version?: string
}

/** Tells which pieces a parent has, as they appear there. */
export interface Feed {
  /**
   * Calls `onHave` for each wanted piece that the parent has or gets. Resolves when the parent ends the answer: it has no more to tell about these numbers.
   *
   * @throws PeerError PARENT_UNREACHABLE, PARENT_REFUSED, PARENT_PROTOCOL, TASK_NOT_FOUND (the parent keeps nothing of it, or dropped it: what it told is void),
   * ORIGIN_CHANGED (the parent holds another version than `version`)
   */
  watch(
    parent: Parent,
    request: {
      readonly spec: TaskSpec
      readonly numbers: readonly number[]
      /** Token of the version that is wanted. */
      readonly version?: string
      /** Under which the scheduler knows this download: by that the parent can ask for pieces in return. */
      readonly peerId?: string
    },
    onHave: (have: Have) => void,
    signal: AbortSignal,
  ): Promise<void>
  /**
   * Resolves when the parent gives a sign of life, however busy it is; rejects with anything when it cannot be reached. Left out where nobody can be asked.
   */
  ping?(parent: Parent): Promise<void>
}

/**
 * Where the bytes of one piece go. A slot belongs to one read: whoever reads the wire asks for memory, fills it, and says how much.
 * Bytes arrive in order. Digests are computed as bytes are filled.
 */
export interface Slot {
  /** The piece that is being read. */
  readonly piece: Piece
  /** Bytes filled so far. */
  readonly filled: number
  /**
   * Memory for the next bytes, never longer than what is missing of the piece. Empty when the piece is complete.
   * Undefined while earlier bytes are still on their way to where they are kept: wait for `drained()`, then ask again.
   */
  space(): Uint8Array | undefined
  /** `count` bytes of the last `space()` hold content now. @throws RangeError when that is more than the space */
  fill(count: number): void
  /** Resolves when `space()` has memory again, rejects when the bytes cannot be kept. */
  drained(): Promise<void>
  /**
   * Where this machine can do that: bytes go from a connected socket to where they are kept, and never through JavaScript. Resolves with how many came, soon after
   * the first of them did. With 0 nothing comes in this way, now or any more: go on with `space()`, and read the socket yourself to see why. Not while a `space()` is being filled.
   *
   * @param socket - its descriptor, which may be closed meanwhile
   * @throws PeerError NO_SPACE, STORE_FAILED; the reason of `signal`. In both cases nothing is read or written afterwards
   */
  readonly fillFrom?: ((socket: number, signal: AbortSignal) => Promise<number>) | undefined
  /**
   * Milliseconds for which the socket of a `fillFrom` that runs has had nothing: 0 while what came is on its way to where it is kept, however long that takes, for the sender
   * waits for us then. Undefined while none runs.
   */
  readonly silentMs?: number | undefined
  /**
   * Forgets what was filled, so that the piece can be read anew from its beginning, say over another transport. Waits for bytes that are still on their way to
   * where they are kept. Nobody may fill meanwhile.
   *
   * @throws PeerError NO_SPACE, STORE_FAILED; RangeError when the piece is complete
   */
  rewind(): Promise<void>
  /**
   * All bytes are filled and lie where they are kept. Resolves with their piece digest, `crc32:<decimal>`. The piece is not kept yet: `commit` does that.
   *
   * @throws PeerError NO_SPACE, STORE_FAILED; RangeError when bytes are missing
   */
  finish(): Promise<string>
  /** Gives the memory back. Safe to call at any time and more than once; after it the slot is dead. */
  release(): void
}

/** Where a committed piece came from. */
export type TrafficKind = 'source' | 'peer' | 'local'

/** The place that keeps a task's pieces, as the engine sees it. */
export interface Sink {
  readonly geometry: Geometry
  /** Whether the piece is kept. */
  has(number: number): boolean
  /** Digest of a kept piece in string form; undefined when it is not kept. */
  digestOf(number: number): string | undefined
  /** A slot for this piece; waits for memory. One open slot per piece at most. */
  slot(number: number, signal: AbortSignal): Promise<Slot>
  /** The filled slot becomes the kept piece and can be served. Releases the slot. Does nothing if the piece is kept already. */
  commit(slot: Slot, kept: { readonly digest: string; readonly parentId: string }): Promise<void>
}

/** What is asked of a parent over a transport. */
export interface PieceRequest {
  /** Id of the task, 64 hex digits. */
  readonly taskId: string
  /** Kind of the task: it decides the tags of the wire. */
  readonly kind: TaskKind
  /** The piece, with the offset and length that the answer must have. */
  readonly piece: Piece
}

/** What a parent says about the piece that it has just sent. */
export interface Received {
  /** Its digest in string form; empty when the parent has none. */
  readonly digest: string
  /** Over which transport it came, where there are several. */
  readonly transport?: string
}

/** Reads pieces from parents. One or more transports behind it. */
export interface PieceReader {
  /**
   * Fills the slot with the piece. Number, offset and length in the answer have been compared with the request.
   *
   * @throws PeerError PARENT_UNREACHABLE, PARENT_PROTOCOL, PARENT_REFUSED
   */
  read(
    from: ParentAddress,
    request: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received>
}

/** What the origin said about the content. */
export interface OriginStat {
  /** Bytes; undefined when the origin does not tell. */
  readonly length?: number
  /** Whether parts can be asked for. */
  readonly ranges: boolean
  /** Identifies this version of the content: a strong ETag, else Last-Modified, else undefined. */
  readonly validator?: string
  /** Response headers worth keeping. */
  readonly headers: Readonly<Record<string, string>>
}

/** The origin of one task, with everything it needs bound in. */
export interface Origin {
  /** @throws PeerError the ORIGIN_ codes, UNKNOWN_SCHEME, INVALID_URL */
  stat(signal: AbortSignal): Promise<OriginStat>
  /**
   * The content from `offset` on, in order. Without `length` to its end. Chunks may be reused by the origin after the next one is asked for.
   * With a `validator` the origin answers ORIGIN_CHANGED if it has another version. Retries are behind it: what is delivered is contiguous.
   * `into` is an empty slot for exactly this part. An origin that can fill a slot by itself does not deliver the bytes that it puts there.
   *
   * @throws PeerError the ORIGIN_ codes
   */
  read(
    part: {
      readonly offset: number
      readonly length?: number
      readonly validator?: string
      readonly into?: Slot
    },
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array>
}

/** What a peer tells the scheduler when it starts on a task. */
export interface Registration {
  readonly peerId: string
  readonly spec: TaskSpec
  /** Undefined while the length is unknown. */
  readonly geometry?: Geometry
  readonly range?: Range
  /** The scheduler ordered this download: go to the origin. */
  readonly needBackToSource: boolean
  /** The origin must not be touched for this download. */
  readonly backToSource: 'allow' | 'never'
  /** Everything is here already: only make it known. */
  readonly metadataOnly: boolean
  /** This copy of a persistent kind is one of those that are kept until the time to live is over. @defaultValue false */
  readonly persistent?: boolean
  /** How many pieces are fetched at once. */
  readonly concurrency: number
}

/** What the scheduler says. */
export type Answer =
  | { readonly is: 'empty' }
  | {
      readonly is: 'parents'
      readonly parents: readonly Parent[]
      /** Bytes of content as the scheduler knows it; undefined when it does not. */
      readonly contentLength?: number
    }
  | { readonly is: 'source' }
  | { readonly is: 'metadata' }

/** One finished piece, for the report. */
export interface PieceReport {
  readonly piece: Piece
  readonly digest: string
  readonly traffic: 'source' | 'peer'
  /** Empty for the source. */
  readonly parentId: string
  readonly costMs: number
  /** Wall-clock milliseconds. */
  readonly createdAt: number
}

/**
 * One announced download (scheduler.v2 AnnouncePeer). The reports queue up and never wait; a lost connection shows in `next()`.
 */
export interface Session {
  /**
   * The next answer; undefined when the scheduler ended the stream in order.
   *
   * @throws PeerError SCHEDULER_UNAVAILABLE when the connection is lost, SCHEDULER_REFUSED when it said no
   */
  next(signal: AbortSignal): Promise<Answer | undefined>
  /** Pieces are being fetched from parents now. */
  started(): void
  /** Pieces are being fetched from the origin now. */
  sourceStarted(): void
  /** These parents cannot deliver what is missing; others are wanted. */
  reschedule(parents: readonly Parent[], reason: string): void
  pieceDone(report: PieceReport): void
  pieceFailed(number: number, parentId: string): void
  /** Ends the session and waits, within a bound, for the scheduler to have taken every report. Never throws. */
  finish(how: SessionEnd): Promise<void>
}

/** How a download ended. `source`: the origin was used on the scheduler's order. */
export type SessionEnd =
  | { readonly is: 'done'; readonly source: boolean }
  | { readonly is: 'failed'; readonly source: boolean; readonly reason: string }

/** Opens sessions. */
export interface Announcer {
  /** Never throws: a scheduler that cannot be reached shows in `next()`. */
  open(registration: Registration): Session
  /**
   * Who it is that gets this task under that peer id; undefined when the scheduler knows nobody, or it is this host.
   *
   * @throws PeerError SCHEDULER_UNAVAILABLE, SCHEDULER_REFUSED, CLOSED
   */
  find(spec: TaskSpec, peerId: string, signal: AbortSignal): Promise<Parent | undefined>
}

/** Kept pieces, as those who hand them on see them: serving transports and readers of a download. Storage implements it. */
export interface Shelf {
  /**
   * Opens a piece for reading. A piece that is being fetched right now is waited for.
   *
   * @throws PeerError TASK_NOT_FOUND (no such task or piece), STORE_CORRUPT, STORE_FAILED, FILE_CHANGED, CLOSED
   */
  open(
    request: {
      readonly taskId: string
      readonly kind: TaskKind
      readonly number: number
      /** The reader reads later and by itself, and checks the digest: comparing the bytes now would prove nothing. @defaultValue `false` */
      readonly unchecked?: boolean
    },
    signal: AbortSignal,
  ): Promise<OpenPiece>
}

/** A kept piece, open for reading. While it is open it is not dropped. */
export interface OpenPiece {
  /** Which piece it is. */
  readonly piece: Piece
  /** In string form; empty if unknown. */
  readonly digest: string
  /** From whom this peer once got it; empty for the origin. */
  readonly parentId: string
  /** Wall-clock milliseconds. */
  readonly createdAt: number
  /** The bytes when they lie in memory: no copy, read only. Undefined when they lie on disk. */
  readonly memory: Uint8Array | undefined
  /** Before the application gets `memory`: resolves when no thread writes to what lies beside it any more. Left out where none ever does. */
  lend?(): Promise<void>
  /** The memory of the whole task, of which `memory` is a part; undefined when it is not known. */
  readonly content?: Uint8Array | undefined
  /**
   * The file that the piece lies in, for those who can send from it without reading it: its descriptor, which may be duplicated while the piece is open, and where the piece
   * begins. The last byte must come from `read()`, after the others were sent: it alone notices that somebody wrote to the file meanwhile.
   */
  readonly file?: { readonly descriptor: number; readonly position: number } | undefined
  /** Reads from `position` (within the piece) until `into` is full or the piece ends; the count. @throws PeerError STORE_FAILED */
  read(into: Uint8Array, position: number): Promise<number>
  /** Lets go. Safe to call twice. */
  close(): void
}

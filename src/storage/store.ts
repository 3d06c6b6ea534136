import type { TaskKind } from '../task/kind.ts'
import type { Geometry } from '../task/piece.ts'
import type { Shelf, Sink } from '../task/ports.ts'

/**
 * Where pieces stay. The memory store and the disk store keep this contract; `test/contract/store.ts` is its suite.
 * A store knows tasks by id, keeps what it knows about them beside their pieces, and never drops what is in use.
 */
export interface Store extends Shelf {
  /** `disk` or `memory`. */
  readonly name: string
  /** Where files are written down that are being made for outputs; undefined in a store that leaves nothing to the next process. */
  readonly notes?: TemporaryNotes
  /** The task, if it is kept here, whole or in part. Looking does not count as use. */
  get(id: string): KeptTask | undefined
  /** All tasks, in no order. */
  list(): KeptTask[]
  /**
   * Makes room for a task. A task that is there already with the same geometry is given back as it is, with the new record (what that leaves out stays).
   * Until it is held, filled or read, collection may drop it again: hold it before the next `await`.
   *
   * @throws PeerError NO_SPACE, TOO_LARGE (memory store), STORE_FAILED, CLOSED; RangeError when it is there with another geometry
   */
  create(record: TaskRecord, geometry: Geometry, options?: CreateOptions): Promise<KeptTask>
  /** Takes content of unknown length or unknown identity, in order. @throws PeerError LIMIT_REACHED, NO_SPACE, STORE_FAILED, CLOSED */
  spool(): Promise<Spool>
  /**
   * Keeps a file that lies elsewhere on this machine, without a copy: its pieces are digested now, and it is watched for change from then on.
   * A task of that id with exactly this content is given back as it is, with the new record; one with other content is replaced, since the file is newer.
   * The disk store alone can; the memory store throws `TypeError`.
   *
   * @throws PeerError FILE_NOT_FOUND, PERMISSION_DENIED, FILE_CHANGED (while it was read), STORE_FAILED, CLOSED
   */
  adopt(
    record: TaskRecord,
    path: string,
    pieceLength: number,
    signal: AbortSignal,
  ): Promise<KeptTask>
  /** Forgets the task and frees its bytes (never an adopted file or an output). Readers that have a piece open can read it to the end. False when it was not there. */
  delete(id: string): Promise<boolean>
  /** Bytes and tasks kept now, and the limit. */
  usage(): StoreUsage
  /** Lets running writes end, frees memory, descriptors and the folder. Safe to call twice. */
  close(): Promise<void>
}

/** What is kept about a task beside its pieces. On disk it lies in a folder that only its user can read, because a URL may hold a credential. */
export interface TaskRecord {
  readonly id: string
  readonly kind: TaskKind
  readonly url?: string
  readonly tag?: string
  readonly application?: string
  readonly filteredQueryParams?: readonly string[]
  /** Only when the user chose it. */
  readonly pieceLength?: number
  /** Version of the content at the origin. */
  readonly validator?: string
  /** Token of the version, as parents told it, where the origin itself has not been asked. */
  readonly version?: string
  /** Response headers of the origin. */
  readonly headers?: Readonly<Record<string, string>>
  /** Digest of the whole content in string form, when it was checked. */
  readonly digest?: string
  /** Kept until its time to live is over, whatever the usage. @defaultValue what `kinds` says of the kind */
  readonly persistent?: boolean
  /** Milliseconds from `createdAt`; for ever (or the store's default) without. */
  readonly ttlMs?: number
  /** Copies in the network that the importer of a written file asked for. */
  readonly replicas?: number
  /** Wall-clock milliseconds. */
  readonly createdAt: number
}

/** One task in a store. */
export interface KeptTask extends Sink {
  readonly record: TaskRecord
  readonly geometry: Geometry
  /** Pieces kept. */
  readonly keptCount: number
  /** Every piece is kept. */
  readonly complete: boolean
  /** Wall-clock milliseconds of the last read, write or output. */
  readonly usedAt: number
  /**
   * Bytes of the whole content when it lies in one piece of memory: shared, read only. Whoever asks could write to it all the same, so from then on each piece
   * is summed up again before it is handed on: read it only to hand it to the application.
   */
  readonly memory: Uint8Array | undefined
  /** Resolves when no thread writes to that memory any more, nor will: only then may the application have it, which could detach its buffer. */
  lend(): Promise<void>
  /** Changes what is known about the task; what is left out stays. */
  update(change: Partial<Omit<TaskRecord, 'id' | 'kind' | 'createdAt'>>): Promise<void>
  /** Calls with each piece that is kept from now on, and once with `undefined` when the task is deleted. The returned function ends it. */
  onKept(call: (number: number | undefined) => void): () => void
  /** While any hold is open the task is not dropped by collection. The returned function lets go; it may be called twice. */
  hold(): () => void
  /**
   * Puts the complete content at a path: hard link, else reflink, else copy. Nothing half-written ever stands there. The folder must exist.
   * A hard link is read-only (0444) and shares its bytes with the store and with other outputs of the task; a copy has the mode of a new file.
   * STORE_CORRUPT and FILE_CHANGED mean that pieces were dropped: fetch what is missing and call again.
   *
   * @throws PeerError OUTPUT_EXISTS, PERMISSION_DENIED, NO_SPACE, FILE_NOT_FOUND (no such folder), STORE_FAILED, STORE_CORRUPT, FILE_CHANGED, TASK_NOT_FOUND;
   * RangeError when the task is not complete and nothing of it was dropped
   */
  output(path: string, options: OutputOptions): Promise<OutputWay>
}

/** How a new task is made. */
export interface CreateOptions {
  /** Memory store only: the caller's memory becomes the place of the content. Its length is the content length. */
  readonly memory?: Uint8Array
  /** Memory store only: memory that is made can be seen by worker threads. */
  readonly shared?: boolean
  /**
   * Memory store only: once the task is complete and no hold is open, the store does not keep the memory alive. It serves it as long as somebody else
   * does, usually the application that got it from `memory`, and forgets the task when the memory is collected. Such a task takes none of the store's bytes.
   *
   * @defaultValue `false`
   */
  readonly weak?: boolean
  /**
   * Disk store only: bytes that will be fetched, if that is less than the whole content. Room for them is set aside until the task is complete or its last
   * hold is gone; a slot for more asks for more room then, and may get NO_SPACE. A memory store takes room for the whole content in any case.
   *
   * @defaultValue the content length
   */
  readonly bytesWanted?: number
}

/** Which piece `Shelf.open()` is asked for. */
export type PieceWanted = Parameters<Shelf['open']>[0]

/** How an output is made. */
export interface OutputOptions {
  /** Replace a file that stands there. */
  readonly overwrite: boolean
  /** The file will be written to: never a hard link. */
  readonly writable: boolean
  readonly signal: AbortSignal
}

/** Names of files that are being made beside outputs, so that they can be removed should the process die. See `OutputNotes`. */
export interface TemporaryNotes {
  /** A file of this name is about to be made. */
  add(temporary: string): Promise<void>
  /** It is gone, or has another name. */
  remove(temporary: string): Promise<void>
}

/** How an output was made. */
export type OutputWay = 'link' | 'reflink' | 'copy'

/** Content on its way in, whose length or id is not known yet. */
export interface Spool {
  /** Bytes taken so far. */
  readonly length: number
  /** Takes a copy of the chunk, which may be used again when the promise resolves; waits while the disk is behind. @throws PeerError NO_SPACE, STORE_FAILED, CLOSED */
  write(chunk: Uint8Array): Promise<void>
  /** The content is whole: it becomes a complete task. The rule decides the piece length when it is left out. An existing complete task of the id is kept instead. */
  finish(record: TaskRecord, pieceLength?: number): Promise<KeptTask>
  /** Drops everything. Safe to call twice, and after `finish`. */
  discard(): Promise<void>
}

/** How full a store is. */
export interface StoreUsage {
  /** Bytes that the kept tasks take, with what was set aside for those under way. Files that lie elsewhere are not counted. */
  readonly bytes: number
  /** Most bytes that may be taken. What the disk has room for is a limit of its own. */
  readonly bytesMax: number
  /** Tasks of which anything is kept, or coming. */
  readonly tasks: number
}

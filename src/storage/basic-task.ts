import { PeerError } from '../errors.ts'
import { publish } from '../hooks.ts'
import { kinds } from '../task/kind.ts'
import { type Geometry, type Piece, pieceAt } from '../task/piece.ts'
import type { OpenPiece, Slot } from '../task/ports.ts'
import type { Clock } from '../util/clock.ts'
import { frozenCopy } from '../util/frozen-copy.ts'
import { Scope } from '../util/scope.ts'
import { Claims } from './claims.ts'
import { BlindSlot, FillSlot } from './fill-slot.ts'
import type { GcTask } from './gc-policy.ts'
import type { PieceSum } from './piece-sum.ts'
import { type KeptPiece, PieceTable } from './piece-table.ts'
import type { KeptTask, OutputOptions, OutputWay, TaskRecord } from './store.ts'

/** What a task needs from its store, whichever it is. */
export interface TaskHost {
  readonly clock: Clock
  /** Fires with a `CLOSED` error when the store closes. */
  readonly lifetime: AbortSignal
  /** Begins the digests of a piece. */
  pieceSum(): PieceSum
}

/**
 * What a kept task does in every store: counts its pieces, its holds and its readers, gives each piece to one slot at a time, and tells those who
 * listen. Where bytes lie is the business of the kinds of task.
 */
export abstract class BasicTask implements KeptTask {
  readonly geometry: Geometry
  protected readonly table: PieceTable
  protected readonly claims: Claims = new Claims()
  readonly #host: TaskHost
  readonly #listeners = new Set<(number: number | undefined) => void>()
  #record: TaskRecord
  #holds = 0
  #readers = 0
  #usedAt: number
  #gone = false
  #dropped = false

  /** @param table - pieces kept in an earlier run */
  constructor(
    host: TaskHost,
    record: TaskRecord,
    cut: Geometry,
    usedAt: number,
    table: PieceTable = new PieceTable(cut),
  ) {
    this.#host = host
    this.#record = frozenCopy(record)
    this.#usedAt = usedAt
    this.geometry = cut
    this.table = table
  }

  get record(): TaskRecord {
    return this.#record
  }

  get keptCount(): number {
    return this.table.count
  }

  get complete(): boolean {
    return this.table.full
  }

  get usedAt(): number {
    return this.#usedAt
  }

  /** Deleted, or lost: nothing can be done with it any more. */
  get gone(): boolean {
    return this.#gone
  }

  /** Somebody works with it, so collection keeps away. */
  get held(): boolean {
    return this.#holds > 0 || this.#readers > 0 || this.claims.count > 0
  }

  has(number: number): boolean {
    return this.table.has(number)
  }

  digestOf(number: number): string | undefined {
    return this.table.digestOf(number)
  }

  async update(change: Partial<Omit<TaskRecord, 'id' | 'kind' | 'createdAt'>>): Promise<void> {
    this.refuseGone()
    const before = this.#record
    const after = frozenCopy({ ...before, ...change })
    this.#record = after
    try {
      await this.saveRecord()
    } catch (error) {
      if (this.#record === after) this.#record = before
      throw error
    }
  }

  onKept(call: (number: number | undefined) => void): () => void {
    if (this.#gone) {
      call(undefined)
      return () => undefined
    }
    // Wrapped, so that a function that is given twice is called twice and taken back one at a time.
    const listener = (number: number | undefined): void => call(number)
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  hold(): () => void {
    this.#holds++
    this.holdTaken()
    let open = true
    return () => {
      if (!open) return
      open = false
      this.#holds--
      if (this.#holds === 0 && !this.#gone) this.letGo()
    }
  }

  async slot(number: number, signal: AbortSignal): Promise<Slot> {
    const piece = pieceAt(this.geometry, number)
    using scope = new Scope([this.#host.lifetime, signal])
    await this.claims.take(number, scope.signal)
    const release = (): void => this.claims.release(number)
    try {
      this.refuseGone()
      if (this.has(number)) return new BlindSlot(this, piece, this.#host.pieceSum(), release)
      return await this.makeSlot(piece, scope.signal, release)
    } catch (error) {
      release()
      throw error
    }
  }

  async commit(
    slot: Slot,
    kept: { readonly digest: string; readonly parentId: string },
  ): Promise<void> {
    if (!(slot instanceof FillSlot) || slot.task !== this) {
      throw new TypeError('commit() takes a slot of this task')
    }
    slot.committing ??= this.#commit(slot, kept).finally(() => slot.end())
    await slot.committing
  }

  /** Opens a kept piece; waits for one that is being filled. `unchecked`: see `Shelf`. */
  async open(number: number, signal: AbortSignal, unchecked = false): Promise<OpenPiece> {
    using scope = new Scope([this.#host.lifetime, signal])
    scope.signal.throwIfAborted()
    for (;;) {
      const kept = this.#gone ? undefined : this.table.get(number)
      if (kept !== undefined) {
        return await this.#openKept(pieceAt(this.geometry, number), kept, scope.signal, unchecked)
      }
      if (this.#gone || !this.claims.has(number)) throw this.notFound()
      await this.claims.outcome(number, scope.signal)
    }
  }

  /** Ends the task: no slot, commit, reader or output from now on. Those who listen are told. Slots and readers that are open end by themselves. */
  forget(): void {
    if (this.#gone) return
    this.#gone = true
    for (const listener of Array.from(this.#listeners)) listener(undefined)
    this.#listeners.clear()
  }

  /** The task, as collection sees it. */
  garbage(bytes: number): GcTask {
    const { id, kind, createdAt, ttlMs, persistent } = this.#record
    return {
      id,
      bytes,
      createdAt,
      usedAt: this.#usedAt,
      persistent: persistent ?? kinds[kind].keptUntilExpiry,
      held: this.held,
      ...(ttlMs === undefined ? {} : { ttlMs }),
    }
  }

  abstract readonly memory: Uint8Array | undefined

  lend(): Promise<void> {
    return Promise.resolve()
  }

  abstract output(path: string, options: OutputOptions): Promise<OutputWay>
  /** Writes the record to where it outlives the process. */
  protected abstract saveRecord(): Promise<void>
  /** Writes a piece to where it outlives the process; after that it is kept. */
  protected abstract savePiece(number: number, piece: KeptPiece): Promise<void>
  /** A slot that leads to the place of the piece. Calls `release` when it is dead and nothing of it is on its way any more. */
  protected abstract makeSlot(
    piece: Piece,
    signal: AbortSignal,
    release: () => void,
  ): Promise<FillSlot>
  /** Opens a piece that is kept. Calls `onClose` once when it is closed. */
  protected abstract openKept(
    piece: Piece,
    kept: KeptPiece,
    signal: AbortSignal,
    onClose: () => void,
    unchecked: boolean,
  ): Promise<OpenPiece>
  /** A hold was taken. */
  protected holdTaken(): void {}
  /** The last hold is gone. */
  protected letGo(): void {}
  /** A piece was added. */
  protected added(_piece: Piece): void {}

  /** Work on the task counts as use. */
  protected touch(): void {
    this.#usedAt = Math.max(this.#usedAt, this.#host.clock.date())
  }

  /** Whether a hold is open. */
  protected get holding(): boolean {
    return this.#holds > 0
  }

  /** Runs `work` while the task counts as held. */
  protected async whileHeld<T>(work: () => Promise<T>): Promise<T> {
    const release = this.hold()
    try {
      return await work()
    } finally {
      release()
    }
  }

  protected refuseGone(): void {
    this.#host.lifetime.throwIfAborted()
    if (this.#gone) throw this.notFound()
  }

  protected notFound(): PeerError<'TASK_NOT_FOUND'> {
    const { id } = this.#record
    return new PeerError('TASK_NOT_FOUND', `Task ${id} or its piece is not kept`, { task: id })
  }

  async #commit(slot: FillSlot, kept: { digest: string; parentId: string }): Promise<void> {
    const { piece } = slot
    if (this.has(piece.number)) return
    if (slot.released) throw new RangeError('The slot was released before commit()')
    const digest = await slot.finish()
    if (kept.digest !== '' && kept.digest !== digest) {
      throw new RangeError(`The slot has digest ${digest}, not ${kept.digest}`)
    }
    this.refuseGone()
    // The piece was kept when the slot was made and has been found damaged since.
    if (slot instanceof BlindSlot) throw this.corrupt(piece.number)
    const facts: KeptPiece = {
      crc: slot.sum.crc,
      xxh64: slot.sum.xxh64,
      parentId: kept.parentId.length > parentIdLengthMax ? '' : kept.parentId,
      createdAt: this.#host.clock.date(),
    }
    await this.savePiece(piece.number, facts)
    this.refuseGone()
    this.keep(piece.number, facts)
  }

  /** Adds a piece whose bytes lie in place, and tells those who listen. */
  protected keep(number: number, facts: KeptPiece): void {
    if (!this.table.add(number, facts)) return
    this.touch()
    this.added(pieceAt(this.geometry, number))
    for (const listener of Array.from(this.#listeners)) listener(number)
  }

  /** Stops keeping a piece that was found damaged. */
  protected drop(piece: Piece): void {
    if (!this.table.delete(piece.number)) return
    this.#dropped = true
    const { id: task } = this.#record
    publish('dragonfly-peer:store:dropped', () => ({ task, bytes: piece.length, why: 'damaged' }))
  }

  /** Stops keeping all of them: the place where they lay is gone. Their numbers. */
  protected dropAll(): Iterable<number> {
    const { bytes } = this.table
    if (bytes === 0) return []
    this.#dropped = true
    const { id: task } = this.#record
    publish('dragonfly-peer:store:dropped', () => ({ task, bytes, why: 'damaged' }))
    return this.table.clear()
  }

  /** The error for an output that is asked for while pieces are missing. It is the caller's fault unless a piece was lost on the way. */
  protected incomplete(): Error {
    const missing = this.table.firstMissing ?? 0
    if (this.#dropped) return this.corrupt(missing)
    return new RangeError(`Piece ${missing} of task ${this.#record.id} is missing`)
  }

  protected corrupt(piece: number | undefined, cause?: unknown): PeerError {
    const { id } = this.#record
    return new PeerError(
      'STORE_CORRUPT',
      piece === undefined ? `Task ${id} is damaged` : `Piece ${piece} of task ${id} is damaged`,
      { path: this.place, task: id, ...(piece === undefined ? {} : { piece }) },
      { cause },
    )
  }

  /** What errors name as the place of the content. */
  protected abstract readonly place: string

  async #openKept(
    piece: Piece,
    kept: KeptPiece,
    signal: AbortSignal,
    unchecked: boolean,
  ): Promise<OpenPiece> {
    this.touch()
    this.#readers++
    let open = true
    const close = (): void => {
      if (open) this.#readers--
      open = false
    }
    try {
      return await this.openKept(piece, kept, signal, close, unchecked)
    } catch (error) {
      close()
      throw error
    }
  }
}

/** A parent id comes from the network; a longer one is kept as if there were none. */
const parentIdLengthMax = 1024

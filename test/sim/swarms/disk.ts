import { PeerError } from '../../../src/errors.ts'
import { pieceDigest } from '../../../src/hash/digest.ts'
import { BasicTask } from '../../../src/storage/basic-task.ts'
import { FillSlot, released } from '../../../src/storage/fill-slot.ts'
import { pieceSums } from '../../../src/storage/piece-sum.ts'
import { type KeptPiece, PieceTable } from '../../../src/storage/piece-table.ts'
import type { OutputWay, TaskRecord } from '../../../src/storage/store.ts'
import type { Geometry, Piece } from '../../../src/task/piece.ts'
import type { OpenPiece } from '../../../src/task/ports.ts'
import type { VirtualClock } from '../clock.ts'
import type { DiskFault, PeerPlan } from './scenario.ts'

/** In JavaScript: the same numbers on every machine. */
const pieceSum = pieceSums(false)

/** How the origin is named among those from whom pieces come. */
export const originSource = 'the origin'

/** What a disk tells. */
export interface DiskEvents {
  /** These bytes are kept now, and may be handed on. */
  onKept(task: SimTask, piece: Piece, bytes: Uint8Array): void
}

interface Saved {
  record: TaskRecord
  readonly cut: Geometry
  readonly bytes: Uint8Array
  readonly pieces: Map<number, KeptPiece>
}

/** The disk of one machine: what is saved on it outlives the process, unless it is a memory. */
export class SimDisk {
  readonly #plan: PeerPlan
  readonly clock: VirtualClock
  readonly events: DiskEvents
  #saved: Saved | undefined
  fault: DiskFault | undefined

  constructor(plan: PeerPlan, clock: VirtualClock, events: DiskEvents) {
    this.#plan = plan
    this.clock = clock
    this.events = events
  }

  get drainEvery(): number {
    return this.#plan.drainEvery
  }

  /** What a process finds when it starts; undefined when there is nothing. */
  load(lifetime: AbortSignal): SimTask | undefined {
    if (!this.#plan.durable) this.#saved = undefined
    const saved = this.#saved
    if (saved === undefined) return undefined
    // A process that died may still write into its own memory.
    const own = { ...saved, bytes: saved.bytes.slice(), pieces: new Map(saved.pieces) }
    this.#saved = own
    const table = new PieceTable(own.cut)
    for (const [number, piece] of own.pieces) table.add(number, piece)
    return new SimTask(this, lifetime, own, table)
  }

  /** Room for a new task, which replaces what was there. */
  create(record: TaskRecord, cut: Geometry, lifetime: AbortSignal): SimTask {
    const bytes = new Uint8Array(cut.contentLength)
    const saved: Saved = { record, cut, bytes, pieces: new Map() }
    this.#saved = saved
    return new SimTask(this, lifetime, saved, new PieceTable(cut))
  }

  /** Takes its time. @throws PeerError NO_SPACE, STORE_FAILED */
  async work(signal: AbortSignal): Promise<void> {
    const ms = this.#plan.diskMs + (this.fault === 'slow' ? 2000 : 0)
    if (ms > 0) await this.clock.sleep(ms, signal)
    signal.throwIfAborted()
    const path = 'disk'
    if (this.fault === 'full') {
      throw new PeerError('NO_SPACE', 'The disk is full', { path, needed: 1 })
    }
    if (this.fault === 'failed') {
      const details = { path, operation: 'write', errno: 'EIO' }
      throw new PeerError('STORE_FAILED', 'The disk failed', details)
    }
  }
}

/** A kept task on such a disk, with the bookkeeping of the real stores. */
export class SimTask extends BasicTask {
  protected readonly place = 'disk'
  readonly memory = undefined
  readonly #disk: SimDisk
  readonly #lifetime: AbortSignal
  readonly #saved: Saved

  constructor(disk: SimDisk, lifetime: AbortSignal, saved: Saved, table: PieceTable) {
    super({ clock: disk.clock, lifetime, pieceSum }, saved.record, saved.cut, 0, table)
    this.#disk = disk
    this.#lifetime = lifetime
    this.#saved = saved
  }

  /** Slots that are open or waited for. */
  get openSlots(): number {
    return this.claims.count
  }

  /** From whom a kept piece came. */
  sourceOf(number: number): string {
    return this.table.get(number)?.parentId || originSource
  }

  /** Bytes of a piece as they lie there. */
  bytes({ offset, length }: Piece): Uint8Array {
    return this.#saved.bytes.subarray(offset, offset + length)
  }

  output(): Promise<OutputWay> {
    return Promise.reject(new Error('Nothing is put out here'))
  }

  protected async saveRecord(): Promise<void> {
    const { record } = this
    await this.#disk.work(this.#lifetime)
    this.#saved.record = record
  }

  protected async savePiece(number: number, piece: KeptPiece): Promise<void> {
    await this.#disk.work(this.#lifetime)
    this.#saved.pieces.set(number, piece)
  }

  protected override added(piece: Piece): void {
    this.#disk.events.onKept(this, piece, this.bytes(piece))
  }

  protected makeSlot(piece: Piece, _signal: AbortSignal, release: () => void): Promise<FillSlot> {
    return Promise.resolve(new SimSlot(this, piece, this.#disk, this.#lifetime, release))
  }

  protected openKept(
    piece: Piece,
    kept: KeptPiece,
    _signal: AbortSignal,
    onClose: () => void,
  ): Promise<OpenPiece> {
    return Promise.resolve({
      piece,
      digest: pieceDigest(kept.crc),
      parentId: kept.parentId,
      createdAt: kept.createdAt,
      memory: this.bytes(piece),
      read: () => Promise.reject(new Error('It lies in memory')),
      close: onClose,
    })
  }
}

class SimSlot extends FillSlot {
  readonly #bytes: Uint8Array
  readonly #disk: SimDisk
  readonly #lifetime: AbortSignal
  readonly #onEnd: () => void
  #at = 0
  #undrained = 0

  constructor(
    task: SimTask,
    piece: Piece,
    disk: SimDisk,
    lifetime: AbortSignal,
    onEnd: () => void,
  ) {
    super(task, piece, pieceSum())
    this.#bytes = task.bytes(piece)
    this.#disk = disk
    this.#lifetime = lifetime
    this.#onEnd = onEnd
  }

  async drained(): Promise<void> {
    await this.#disk.work(this.#lifetime)
    if (this.released) throw released()
    this.#undrained = 0
  }

  protected memory(missing: number): Uint8Array | undefined {
    const { drainEvery } = this.#disk
    const room = drainEvery === 0 ? missing : Math.min(missing, drainEvery - this.#undrained)
    return room <= 0 ? undefined : this.#bytes.subarray(this.#at, this.#at + room)
  }

  protected took(count: number): void {
    this.sum.add(this.#bytes.subarray(this.#at, this.#at + count))
    this.#at += count
    this.#undrained += count
  }

  protected settled(): Promise<void> {
    return Promise.resolve()
  }

  protected rewound(): Promise<void> {
    this.#at = 0
    this.#undrained = 0
    return Promise.resolve()
  }

  protected freed(): void {
    this.#onEnd()
  }
}

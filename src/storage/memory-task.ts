import type { FileHandle } from 'node:fs/promises'
import { crc32 } from '../hash/crc32.ts'
import { pieceDigest } from '../hash/digest.ts'
import { type Geometry, type Piece, pieceAt } from '../task/piece.ts'
import type { OpenPiece } from '../task/ports.ts'
import { BasicTask, type TaskHost } from './basic-task.ts'
import { DirectSlot } from './direct-slot.ts'
import type { FillSlot } from './fill-slot.ts'
import { OwnMemory } from './own-memory.ts'
import type { KeptPiece } from './piece-table.ts'
import { placeOutput } from './placement.ts'
import type { Quota } from './quota.ts'
import type { OutputOptions, OutputWay, TaskRecord } from './store.ts'

/** An output is written in parts of this length. */
const outputPartBytes = 1024 * 1024

/** What a memory task needs from its store. */
export interface MemoryHost extends TaskHost {
  readonly quota: Quota
  /** Tells when the memory of a weakly kept task was collected. */
  watch(task: MemoryTask, buffer: ArrayBufferLike): void
  /** The memory is gone; the task is to be forgotten. */
  lost(task: MemoryTask): void
}

/** Strongly: the store keeps the memory alive. Weakly: only the application does. */
type Place =
  | { readonly is: 'strong'; readonly bytes: Uint8Array }
  | {
      readonly is: 'weak'
      readonly buffer: WeakRef<ArrayBufferLike>
      readonly offset: number
    }

/**
 * A task whose content is one piece of memory. Once the application has seen that memory it may write to it, so from then on every piece is summed up again
 * before it is handed on.
 */
export class MemoryTask extends BasicTask {
  protected readonly place = 'memory'
  readonly #host: MemoryHost
  readonly #weak: boolean
  #memory: Place
  #watched = false
  /** The application has, or had, this memory in hand. */
  #handed: boolean
  readonly #whose: OwnMemory

  constructor(
    host: MemoryHost,
    record: TaskRecord,
    cut: Geometry,
    bytes: Uint8Array,
    options: { readonly weak: boolean; readonly handed: boolean },
  ) {
    super(host, record, cut, host.clock.date())
    this.#host = host
    this.#memory = { is: 'strong', bytes }
    this.#weak = options.weak
    this.#handed = options.handed
    this.#whose = new OwnMemory(!options.handed)
    this.#weaken()
  }

  get memory(): Uint8Array | undefined {
    this.#handed = true
    return this.#bytes()
  }

  /** Bytes that the store keeps alive for this task. */
  get bytesTaken(): number {
    return this.#memory.is === 'strong' ? this.geometry.contentLength : 0
  }

  /** The memory is still there. */
  get alive(): boolean {
    return this.#bytes() !== undefined
  }

  /** Takes over pieces that lie in the memory already. */
  fillIn(pieces: readonly KeptPiece[]): void {
    for (const [number, piece] of pieces.entries()) this.keep(number, piece)
  }

  async output(path: string, options: OutputOptions): Promise<OutputWay> {
    this.refuseGone()
    if (!this.complete) throw this.incomplete()
    const bytes = this.#alive()
    return await this.whileHeld(async () => {
      this.touch()
      const copyInto = async (output: FileHandle, signal: AbortSignal): Promise<void> => {
        for (let number = 0; number < this.geometry.pieceCount; number++) {
          const piece = pieceAt(this.geometry, number)
          this.#check(piece, bytes)
          await writeParts(output, bytes, piece, signal)
        }
      }
      return await placeOutput({ length: this.geometry.contentLength, copyInto }, path, options)
    })
  }

  override lend(): Promise<void> {
    this.#handed = true
    return this.#whose.lend()
  }

  protected saveRecord(): Promise<void> {
    return Promise.resolve()
  }

  protected savePiece(): Promise<void> {
    return Promise.resolve()
  }

  protected makeSlot(piece: Piece, _signal: AbortSignal, release: () => void): Promise<FillSlot> {
    const memory = part(this.#alive(), piece)
    const sum = this.#host.pieceSum()
    const parts = { sum, memory, whose: this.#whose, onEnd: release }
    return Promise.resolve(new DirectSlot(this, piece, parts))
  }

  protected openKept(
    piece: Piece,
    kept: KeptPiece,
    _signal: AbortSignal,
    onClose: () => void,
    unchecked: boolean,
  ): Promise<OpenPiece> {
    const bytes = this.#alive()
    if (this.#handed && !unchecked) this.#check(piece, bytes)
    return Promise.resolve(new MemoryPiece(piece, kept, bytes, this.#whose, onClose))
  }

  protected override holdTaken(): void {
    if (this.#memory.is === 'strong') return
    const bytes = this.#bytes()
    if (bytes === undefined) return
    this.#memory = { is: 'strong', bytes }
    this.#host.quota.force(this.geometry.contentLength)
  }

  protected override letGo(): void {
    this.#weaken()
  }

  protected override added(): void {
    this.#weaken()
  }

  /** strong → weak, when nothing more will be written and nobody holds the task. */
  #weaken(): void {
    if (!this.#weak || !this.complete || this.holding || this.#memory.is === 'weak') return
    const { bytes } = this.#memory
    const { buffer, byteOffset: offset } = bytes
    this.#memory = { is: 'weak', buffer: new WeakRef(buffer), offset }
    this.#host.quota.give(this.geometry.contentLength)
    if (!this.#watched) this.#host.watch(this, buffer)
    this.#watched = true
  }

  /** Undefined when the memory was collected, or the application transferred it to a worker: its buffer is still here then, and empty. */
  #bytes(): Uint8Array | undefined {
    const memory = this.#memory
    const { contentLength: length } = this.geometry
    if (memory.is === 'strong') return memory.bytes.length === length ? memory.bytes : undefined
    const buffer = memory.buffer.deref()
    if (buffer === undefined || buffer.byteLength < memory.offset + length) return undefined
    return length === 0 ? new Uint8Array() : new Uint8Array(buffer, memory.offset, length)
  }

  #alive(): Uint8Array {
    const bytes = this.#bytes()
    if (bytes !== undefined) return bytes
    this.#host.lost(this)
    throw this.notFound()
  }

  /** Drops the piece when the application wrote to it. */
  #check(piece: Piece, bytes: Uint8Array): void {
    const kept = this.table.get(piece.number)
    if (kept === undefined) throw this.notFound()
    if (crc32(part(bytes, piece)) === kept.crc) return
    this.drop(piece)
    throw this.corrupt(piece.number)
  }
}

function part(bytes: Uint8Array, piece: Piece): Uint8Array {
  return bytes.subarray(piece.offset, piece.offset + piece.length)
}

async function writeParts(
  output: FileHandle,
  bytes: Uint8Array,
  piece: Piece,
  signal: AbortSignal,
): Promise<void> {
  const end = piece.offset + piece.length
  for (let at = piece.offset; at < end; ) {
    signal.throwIfAborted()
    const { bytesWritten } = await output.write(bytes, at, Math.min(outputPartBytes, end - at), at)
    at += bytesWritten
  }
}

/** A piece of a memory task, open for reading. */
class MemoryPiece implements OpenPiece {
  readonly piece: Piece
  readonly digest: string
  readonly parentId: string
  readonly createdAt: number
  readonly memory: Uint8Array
  readonly content: Uint8Array
  readonly #whose: OwnMemory
  readonly #onClose: () => void

  constructor(
    piece: Piece,
    kept: KeptPiece,
    content: Uint8Array,
    whose: OwnMemory,
    onClose: () => void,
  ) {
    this.piece = piece
    this.digest = pieceDigest(kept.crc)
    this.parentId = kept.parentId
    this.createdAt = kept.createdAt
    this.memory = part(content, piece)
    this.content = content
    this.#whose = whose
    this.#onClose = onClose
  }

  lend(): Promise<void> {
    return this.#whose.lend()
  }

  read(into: Uint8Array, position: number): Promise<number> {
    const bytes = this.memory.subarray(position, position + into.length)
    into.set(bytes)
    return Promise.resolve(bytes.length)
  }

  close(): void {
    this.#onClose()
  }
}

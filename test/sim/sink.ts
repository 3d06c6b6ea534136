import { crc32 } from '../../src/hash/crc32.ts'
import { pieceDigest } from '../../src/hash/digest.ts'
import { type Geometry, type Piece, pieceAt } from '../../src/task/piece.ts'
import type { OpenPiece, Shelf, Sink, Slot } from '../../src/task/ports.ts'
import { Bitmap } from '../../src/util/bitmap.ts'
import { deferred } from '../../src/util/deferred.ts'
import { never } from './clock.ts'
import { contentOf } from './content.ts'

/** Faults and delays of a simulated sink. */
export interface SinkFaults {
  /** Slots at once; further ones wait. */
  readonly slotsMax?: number
  /** Thrown by `commit`. */
  readonly commitError?: () => unknown
  /** Runs before a slot's `drained()` resolves. */
  readonly drain?: () => Promise<void>
  /** Bytes that a slot takes between two drains. */
  readonly drainEvery?: number
}

/** Pieces in memory, which counts its slots: none may be open when a run has ended. */
export class SimSink implements Sink, Shelf {
  readonly geometry: Geometry
  readonly bytes: Uint8Array
  readonly #kept: Bitmap
  /** Pieces with a slot, or waiting for one. */
  readonly #asked = new Set<number>()
  readonly #open = new Set<number>()
  readonly #waiting: (() => void)[] = []
  readonly #listeners = new Set<(number: number) => void>()
  readonly #parents = new Map<number, string>()
  readonly faults: SinkFaults
  /** Most slots that were open at once. */
  slotsSeen = 0
  /** Pieces open for reading. */
  reading = 0

  constructor(cut: Geometry, faults: SinkFaults = {}) {
    this.geometry = cut
    this.faults = faults
    this.bytes = new Uint8Array(cut.contentLength)
    this.#kept = new Bitmap(cut.pieceCount)
  }

  /** Slots that are open or waited for. */
  get openSlots(): number {
    return this.#asked.size
  }

  get keptCount(): number {
    return this.#kept.held
  }

  /** From whom a piece came. */
  parentOf(number: number): string | undefined {
    return this.#parents.get(number)
  }

  /** Puts content there as if it had been kept earlier. */
  preset(numbers: Iterable<number>): this {
    for (const number of numbers) {
      const { offset, length } = pieceAt(this.geometry, number)
      this.bytes.set(contentOf(offset, length), offset)
      this.#kept.add(number)
    }
    return this
  }

  has(number: number): boolean {
    return this.#kept.has(number)
  }

  digestOf(number: number): string | undefined {
    if (!this.has(number)) return undefined
    const { offset, length } = pieceAt(this.geometry, number)
    return pieceDigest(crc32(this.bytes.subarray(offset, offset + length)))
  }

  /** Calls with each piece from now on that is kept. */
  onKept(listener: (number: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async slot(number: number, signal: AbortSignal): Promise<Slot> {
    signal.throwIfAborted()
    if (this.#asked.has(number)) throw new Error(`Piece ${number} has an open slot already`)
    this.#asked.add(number)
    const slotsMax = this.faults.slotsMax ?? Number.POSITIVE_INFINITY
    try {
      while (this.#open.size >= slotsMax) {
        const { promise, resolve } = deferred<void>()
        this.#waiting.push(resolve)
        await Promise.race([promise, never(signal)])
      }
    } catch (error) {
      this.#asked.delete(number)
      throw error
    }
    this.#open.add(number)
    this.slotsSeen = Math.max(this.slotsSeen, this.#open.size)
    return new SimSlot(this, pieceAt(this.geometry, number), () => {
      this.#asked.delete(number)
      this.#open.delete(number)
      for (const wake of this.#waiting.splice(0)) wake()
    })
  }

  async commit(
    slot: Slot,
    kept: { readonly digest: string; readonly parentId: string },
  ): Promise<void> {
    const error = this.faults.commitError?.()
    if (error !== undefined) throw error
    const { number } = slot.piece
    if (slot.filled !== slot.piece.length) throw new Error('Committed before it was filled')
    slot.release()
    if (!this.#kept.add(number)) return
    this.#parents.set(number, kept.parentId)
    for (const listener of this.#listeners) listener(number)
  }

  async open(request: { readonly number: number }): Promise<OpenPiece> {
    const piece = pieceAt(this.geometry, request.number)
    if (!this.has(piece.number)) throw new Error(`Piece ${piece.number} is not kept`)
    this.reading++
    let open = true
    return {
      piece,
      digest: '',
      parentId: this.#parents.get(piece.number) ?? '',
      createdAt: 0,
      memory: undefined,
      read: async (into, position) => {
        const start = piece.offset + position
        const part = this.bytes.subarray(start, Math.min(start + into.length, end(piece)))
        into.set(part)
        return part.length
      },
      close: () => {
        if (open) this.reading--
        open = false
      },
    }
  }
}

function end(piece: Piece): number {
  return piece.offset + piece.length
}

class SimSlot implements Slot {
  readonly piece: Piece
  readonly #sink: SimSink
  readonly #onRelease: () => void
  #filled = 0
  #undrained = 0
  #released = false

  constructor(sink: SimSink, piece: Piece, onRelease: () => void) {
    this.#sink = sink
    this.piece = piece
    this.#onRelease = onRelease
  }

  get filled(): number {
    return this.#filled
  }

  space(): Uint8Array | undefined {
    if (this.#released) throw new Error('The slot is released')
    const { drainEvery } = this.#sink.faults
    if (drainEvery !== undefined && this.#undrained >= drainEvery) return undefined
    const start = this.piece.offset + this.#filled
    const room = drainEvery === undefined ? Number.POSITIVE_INFINITY : drainEvery - this.#undrained
    return this.#sink.bytes.subarray(start, Math.min(end(this.piece), start + room))
  }

  fill(count: number): void {
    if (this.#released) throw new Error('The slot is released')
    if (this.#filled + count > this.piece.length) throw new RangeError('More than the space')
    this.#filled += count
    this.#undrained += count
  }

  async drained(): Promise<void> {
    await this.#sink.faults.drain?.()
    this.#undrained = 0
  }

  async rewind(): Promise<void> {
    if (this.#released) throw new Error('The slot is released')
    this.#filled = 0
    this.#undrained = 0
  }

  async finish(): Promise<string> {
    if (this.#filled !== this.piece.length) throw new RangeError('Bytes are missing')
    return pieceDigest(crc32(this.#sink.bytes.subarray(this.piece.offset, end(this.piece))))
  }

  release(): void {
    if (this.#released) return
    this.#released = true
    this.#onRelease()
  }
}

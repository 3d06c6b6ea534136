import { crc32 } from '../../src/hash/crc32.ts'
import type { Piece } from '../../src/task/piece.ts'
import type { Slot } from '../../src/task/ports.ts'

/** A slot in memory that notes what is done to it. */
export class PieceSlot implements Slot {
  readonly piece: Piece
  readonly bytes: Uint8Array
  filled = 0
  #sum = 0
  #released = false
  #given = 0

  constructor(piece: Piece, bytes: Uint8Array = new Uint8Array(piece.length)) {
    this.piece = piece
    this.bytes = bytes
  }

  space(): Uint8Array | undefined {
    if (this.#released) throw new Error('The slot was released')
    const space = this.bytes.subarray(this.filled)
    this.#given = space.length
    return space
  }

  fill(count: number): void {
    if (this.#released) throw new Error('The slot was released')
    if (count > this.#given) throw new RangeError(`${count} is more than the space`)
    this.#sum = crc32(this.bytes.subarray(this.filled, this.filled + count), this.#sum)
    this.filled += count
    this.#given -= count
  }

  drained(): Promise<void> {
    return Promise.resolve()
  }

  rewind(): Promise<void> {
    if (this.#released) throw new Error('The slot was released')
    this.filled = 0
    this.#sum = 0
    this.#given = 0
    return Promise.resolve()
  }

  finish(): Promise<string> {
    return Promise.resolve(`crc32:${this.#sum}`)
  }

  release(): void {
    this.#released = true
  }
}

/** A slot on the way to a slow disk: its memory is a few small slabs, and now and then there is none. Only whole slabs go to the content. */
export class SlowSlot extends PieceSlot {
  readonly #slabLength: number
  readonly #isFull: () => boolean
  readonly #slab: Uint8Array
  #at = 0
  #busy = false
  /** How often there was no space. */
  waits = 0
  /** Rejects the next wait. */
  failure: Error | undefined

  /** @param isFull - asked for each slab: whether the next one has to be waited for */
  constructor(piece: Piece, slabLength: number, isFull: () => boolean) {
    super(piece)
    this.#slabLength = slabLength
    this.#isFull = isFull
    this.#slab = new Uint8Array(slabLength)
  }

  override space(): Uint8Array | undefined {
    if (this.#busy) return undefined
    const left = this.piece.length - this.filled
    return this.#slab.subarray(this.#at, Math.min(this.#slabLength, this.#at + left))
  }

  override fill(count: number): void {
    const end = Math.min(this.#slabLength, this.#at + this.piece.length - this.filled)
    if (this.#busy || count > end - this.#at) throw new RangeError('More than the space')
    this.bytes.set(this.#slab.subarray(this.#at, this.#at + count), this.filled)
    this.filled += count
    this.#at += count
    if (this.#at < this.#slabLength) return
    this.#at = 0
    // A write that comes too late, into a slab that was given back, must not look right.
    this.#slab.fill(0xee)
    this.#busy = this.#isFull()
  }

  override async rewind(): Promise<void> {
    await super.rewind()
    this.#at = 0
    this.#busy = false
  }

  override async drained(): Promise<void> {
    this.waits++
    await new Promise<void>((resolve) => setImmediate(resolve))
    if (this.failure !== undefined) throw this.failure
    this.#busy = false
  }
}

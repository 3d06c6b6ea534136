import { PeerError } from '../errors.ts'
import { pieceDigest } from '../hash/digest.ts'
import type { Piece } from '../task/piece.ts'
import type { Slot } from '../task/ports.ts'
import type { PieceSum } from './piece-sum.ts'

/** Bytes are digested when so many wait: long enough to make the calls cheap, short enough to find them in the cache still. */
const digestStepBytes = 128 * 1024
const nothing = new Uint8Array(0)

/**
 * What every slot does: counts what is filled, digests it while it is warm, and dies once. Where the memory comes from, and what happens to it
 * when it is full, is the business of the kinds of slot.
 */
export abstract class FillSlot implements Slot {
  readonly piece: Piece
  /** The task that made it: a slot of another one cannot be committed. */
  readonly task: object
  /** The commit under way: it keeps the slot alive until it has ended. */
  committing: Promise<void> | undefined
  /** The number of the transfer of the addon that runs. */
  protected transfer: number | undefined
  readonly #sum: PieceSum
  #filled = 0
  /** What the last `space()` gave, as long as it was not filled. */
  #offered: Uint8Array = nothing
  #released = false

  constructor(task: object, piece: Piece, sum: PieceSum) {
    this.task = task
    this.piece = piece
    this.#sum = sum
  }

  get filled(): number {
    return this.#filled
  }

  /** Whether it is dead. */
  get released(): boolean {
    return this.#released
  }

  /** Digests of what is filled; of the piece when `finish()` has resolved. */
  get sum(): PieceSum {
    return this.#sum
  }

  /** See `Slot`. */
  get silentMs(): number | undefined {
    return this.transfer === undefined ? undefined : this.#sum.native?.flow.silence(this.transfer)
  }

  space(): Uint8Array | undefined {
    const missing = this.piece.length - this.#filled
    if (missing === 0) return nothing
    const memory = this.#released ? undefined : this.memory(missing)
    this.#offered = memory ?? nothing
    return memory
  }

  /** `count` more bytes were filled and digested without a `space()`. */
  protected passed(count: number): void {
    this.#offered = nothing
    this.#filled += count
  }

  fill(count: number): void {
    if (!Number.isInteger(count) || count < 0 || count > this.#offered.length) {
      throw new RangeError(`The space has ${this.#offered.length} bytes, not ${count}`)
    }
    this.#offered = nothing
    this.#filled += count
    this.took(count)
  }

  async rewind(): Promise<void> {
    if (this.#filled === this.piece.length) throw new RangeError('The piece is complete')
    this.#offered = nothing
    await this.rewound()
    if (this.#released) throw released()
    this.#sum.reset()
    this.#filled = 0
  }

  async finish(): Promise<string> {
    if (this.#filled < this.piece.length) {
      throw new RangeError(`${this.piece.length - this.#filled} bytes are missing in the piece`)
    }
    await this.settled()
    return pieceDigest(this.#sum.crc)
  }

  release(): void {
    // A piece that is being committed may not be given to somebody else who would write over it: the commit releases when it has ended.
    if (this.#released || this.committing !== undefined) return
    this.end()
  }

  /** Ends the slot, also in the middle of a commit: for the commit itself. */
  end(): void {
    if (this.#released) return
    this.#released = true
    this.#offered = nothing
    this.freed()
  }

  abstract drained(): Promise<void>
  /** Memory for at most `missing` bytes; the same place again until something is filled. */
  protected abstract memory(missing: number): Uint8Array | undefined
  /** The first `count` bytes of that memory are content. */
  protected abstract took(count: number): void
  /** Resolves when all bytes lie where they are kept. */
  protected abstract settled(): Promise<void>
  /** Back to the beginning of the piece; resolves when nothing of it is on its way any more. */
  protected abstract rewound(): Promise<void>
  /** Gives back whatever the slot holds. Called once. */
  protected abstract freed(): void

  /** Digests `memory` from `from` to `to` if enough has come together, or `whole` says that no more will. Returns up to where it is digested. */
  protected digest(memory: Uint8Array, from: number, to: number, whole: boolean): number {
    if (to - from < digestStepBytes && !whole) return from
    this.#sum.add(memory.subarray(from, to))
    return to
  }
}

/**
 * A slot for a piece that is kept already: another fetch was faster. Its bytes are digested and go nowhere, because the place of the piece is being
 * read by others now.
 */
export class BlindSlot extends FillSlot {
  readonly #scratch = new Uint8Array(blindBytes)
  readonly #onEnd: () => void

  constructor(task: object, piece: Piece, sum: PieceSum, onEnd: () => void) {
    super(task, piece, sum)
    this.#onEnd = onEnd
  }

  drained(): Promise<void> {
    return this.released ? Promise.reject(released()) : Promise.resolve()
  }

  protected memory(missing: number): Uint8Array {
    return this.#scratch.subarray(0, Math.min(missing, this.#scratch.length))
  }

  protected took(count: number): void {
    this.sum.add(this.#scratch.subarray(0, count))
  }

  protected settled(): Promise<void> {
    return Promise.resolve()
  }

  protected rewound(): Promise<void> {
    return Promise.resolve()
  }

  protected freed(): void {
    this.#onEnd()
  }
}

/** Memory of a blind slot. */
const blindBytes = 64 * 1024

/** What waiting on a slot ends with when it is released meanwhile. */
export function released(): PeerError<'CLOSED'> {
  return new PeerError('CLOSED', 'The slot was released', { what: 'slot' })
}

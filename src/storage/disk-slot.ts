import type { Piece } from '../task/piece.ts'
import { type Deferred, deferred } from '../util/deferred.ts'
import type { Lease } from './descriptors.ts'
import { move } from '../util/flow-move.ts'
import { FillSlot, released } from './fill-slot.ts'
import type { PieceSum } from './piece-sum.ts'
import type { SlabPool } from './slabs.ts'

/** Most slabs of one slot: one being filled and two on their way, so that neither the reader nor the disk waits for the other. */
const slotSlabsMax = 3
/** Most bytes that the addon writes together with what comes behind them: what it writes in one go. */
const aheadBytesMax = 256 * 1024

/** What a slot holds until its end. */
export interface DiskSlotParts {
  readonly sum: PieceSum
  readonly pool: SlabPool
  /** Taken from the pool for this slot. */
  readonly slab: Uint8Array
  readonly lease: Lease
  /** Called when nothing of the slot is on its way to the disk any more. */
  readonly onEnd: () => void
}

/**
 * A slot that leads to a file. A full slab is digested already and goes to the thread pool as one positioned write; the next one is filled meanwhile.
 *
 * A slot never waits for a slab of the pool. It is born with one; that one, written, is filled again. More are taken only when they lie free and
 * nobody waits, and are given back with each write. So each slot goes on by itself, whatever the others do, and memory is bounded by the pool.
 */
export class DiskSlot extends FillSlot {
  readonly fillFrom: ((socket: number, signal: AbortSignal) => Promise<number>) | undefined
  readonly #parts: DiskSlotParts
  /** Being filled: bytes up to `at` hold content, bytes up to `digested` are in the sum. */
  #current: Uint8Array | undefined
  #at = 0
  #digested = 0
  /** Empty, to be filled next. */
  #spare: Uint8Array | undefined
  /** Slabs on their way to the disk, and transfers that pass by them. */
  #writing = 0
  /** Bytes of the piece that were sent on their way. */
  #sent = 0
  #failure: { readonly error: unknown } | undefined
  #change: Deferred<void> | undefined

  constructor(task: object, piece: Piece, parts: DiskSlotParts) {
    super(task, piece, parts.sum)
    this.#parts = parts
    this.#spare = parts.slab
    if (parts.sum.native !== undefined) {
      this.fillFrom = (socket, signal) => this.#fillFrom(socket, signal)
    }
  }

  async drained(): Promise<void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error
      if (this.released) throw released()
      if (this.space() !== undefined) return
      this.#change ??= deferred()
      await this.#change.promise
    }
  }

  protected memory(missing: number): Uint8Array | undefined {
    if (this.#failure !== undefined) return undefined
    this.#current ??= this.#nextSlab()
    return this.#current?.subarray(this.#at, this.#at + missing)
  }

  protected took(count: number): void {
    const slab = this.#current
    if (slab === undefined) return
    this.#at += count
    const whole = this.#at === slab.length || this.filled === this.piece.length
    this.#digested = this.digest(slab, this.#digested, this.#at, whole)
    if (whole) this.#send(slab)
  }

  protected async settled(): Promise<void> {
    while (this.#writing > 0 && this.#failure === undefined) {
      this.#change ??= deferred()
      await this.#change.promise
    }
    if (this.#failure !== undefined) throw this.#failure.error
    if (this.released) throw released()
  }

  /** A write that comes late would put old bytes over new ones: all are waited for. The last slab stays, because the piece is not complete. */
  protected async rewound(): Promise<void> {
    while (this.#writing > 0) {
      this.#change ??= deferred()
      await this.#change.promise
    }
    if (this.#failure !== undefined) throw this.#failure.error
    this.#at = 0
    this.#digested = 0
    this.#sent = 0
  }

  protected freed(): void {
    for (const slab of [this.#current, this.#spare]) {
      if (slab !== undefined) this.#parts.pool.give(slab)
    }
    this.#current = undefined
    this.#spare = undefined
    this.#changed()
    if (this.#writing === 0) this.#end()
  }

  #nextSlab(): Uint8Array | undefined {
    const spare = this.#spare
    this.#spare = undefined
    if (spare !== undefined || this.#writing >= slotSlabsMax) return spare
    return this.#parts.pool.tryTake()
  }

  /**
   * The addon reads the socket, digests and writes. What came counts in any case: it is in the file, and in the sums, which are of no use after a cancel or a failure of
   * the file. What lies in the slab is written by the addon too, together with what comes behind it, as long as that is little.
   */
  async #fillFrom(socket: number, signal: AbortSignal): Promise<number> {
    const { native } = this.sum
    if (this.#failure !== undefined) throw this.#failure.error
    if (this.released) throw released()
    if (native === undefined) return 0
    const ahead = this.#ahead()
    const { flow, sums } = native
    const position = this.piece.offset + this.#sent
    const missing = this.piece.length - this.#sent
    this.#writing++
    try {
      const moved = await this.#parts.lease.file.use('write', missing, async (file) => {
        const { count, fileError, socketFailed } = await move(
          (done) =>
            (this.transfer = flow.receive(socket, file, position, missing, done, sums, ahead)),
          (id) => flow.cancel(id),
          signal,
          (all) => this.#came(all, ahead?.length ?? 0),
        )
        if (fileError !== undefined) throw fileError
        return socketFailed ? 0 : count - (ahead?.length ?? 0)
      })
      return moved
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ERR_FLOW') return 0
      // A reason that looks like the error of a system call is taken for one of the file on its way here.
      const cause = error instanceof Error ? error.cause : undefined
      const { aborted, reason } = signal
      if (aborted && (error === reason || cause === reason)) throw reason
      this.#failure ??= { error }
      throw error
    } finally {
      this.transfer = undefined
      this.#writing--
      this.#changed()
      if (this.released && this.#writing === 0) this.#end()
    }
  }

  /** All that is in the file now; the first `ahead` bytes of it came out of the slab. None of them, and no others, when it was ended early. */
  #came(count: number, ahead: number): void {
    if (count < ahead) return
    if (ahead > 0) this.#at = this.#digested = 0
    this.#sent += count
    this.passed(count - ahead)
  }

  /** What lies in a slab that is not full, because what comes behind goes another way. Undefined: nothing, or it is too much, and on its own way. */
  #ahead(): Uint8Array | undefined {
    const slab = this.#current
    if (slab === undefined || this.#at === 0) return undefined
    this.#digested = this.digest(slab, this.#digested, this.#at, true)
    if (this.#at <= aheadBytesMax) return slab.subarray(0, this.#at)
    this.#send(slab)
    return undefined
  }

  #send(slab: Uint8Array): void {
    const position = this.piece.offset + this.#sent
    const bytes = slab.subarray(0, this.#at)
    this.#current = undefined
    this.#sent += this.#at
    this.#at = 0
    this.#digested = 0
    this.#writing++
    this.#parts.lease.file.write(bytes, position).then(
      () => this.#written(slab),
      (error: unknown) => {
        this.#failure ??= { error }
        this.#written(slab)
      },
    )
  }

  #written(slab: Uint8Array): void {
    this.#writing--
    const wanted = !this.released && this.#sent < this.piece.length && this.#failure === undefined
    if (wanted && this.#current === undefined && this.#spare === undefined) this.#spare = slab
    else this.#parts.pool.give(slab)
    this.#changed()
    if (this.released && this.#writing === 0) this.#end()
  }

  /** Only now may another slot write to the same place. */
  #end(): void {
    this.#parts.lease.release()
    this.#parts.onEnd()
  }

  #changed(): void {
    this.#change?.resolve()
    this.#change = undefined
  }
}

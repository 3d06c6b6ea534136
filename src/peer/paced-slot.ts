import type { Piece } from '../task/piece.ts'
import type { Slot } from '../task/ports.ts'
import type { Pace } from './pace.ts'

/** How a paced slot begins. */
export interface PacedSlotParts {
  /** Bytes that may come at once. */
  readonly granted: number
  /** Ends the waiting for more. */
  readonly signal: AbortSignal
  /** Called when nothing comes any more. */
  readonly leave: () => void
}

/**
 * A slot that has space only for the bytes that may come now. While it waits for more it counts as a slot whose disk is behind: reading stops, and nobody takes
 * that for the silence of the parent.
 */
export class PacedSlot implements Slot {
  /** What is filled. */
  readonly inner: Slot
  readonly #pace: Pace
  readonly #signal: AbortSignal
  readonly #leave: () => void
  /** See `Slot`. */
  readonly fillFrom: Slot['fillFrom']
  #granted: number
  #asking: Promise<void> | undefined

  constructor(inner: Slot, pace: Pace, { granted, signal, leave }: PacedSlotParts) {
    this.inner = inner
    this.#pace = pace
    this.#granted = granted
    this.#signal = signal
    this.#leave = leave
    const { fillFrom } = inner
    if (fillFrom !== undefined) {
      this.fillFrom = async (socket, stop) => {
        // Under a limit every part has to ask first.
        if (this.#pace.limited) return 0
        const count = await fillFrom(socket, stop)
        this.#pace.spend(count)
        return count
      }
    }
  }

  get piece(): Piece {
    return this.inner.piece
  }

  get filled(): number {
    return this.inner.filled
  }

  get silentMs(): number | undefined {
    return this.inner.silentMs
  }

  space(): Uint8Array | undefined {
    const space = this.inner.space()
    if (space === undefined || space.length === 0 || !this.#pace.limited) return space
    return this.#granted === 0 ? undefined : space.subarray(0, this.#granted)
  }

  fill(count: number): void {
    this.inner.fill(count)
    const paid = Math.min(count, this.#granted)
    this.#granted -= paid
    // There was no limit when the space was given.
    if (count > paid) this.#pace.spend(count - paid)
  }

  async drained(): Promise<void> {
    await this.inner.drained()
    if (this.#granted > 0 || !this.#pace.limited) return
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined
    })
    await this.#asking
  }

  rewind(): Promise<void> {
    return this.inner.rewind()
  }

  finish(): Promise<string> {
    return this.inner.finish()
  }

  release(): void {
    this.inner.release()
    this.#leave()
  }

  async #ask(): Promise<void> {
    const missing = this.piece.length - this.filled
    const part = Math.min(this.#pace.partBytes, missing)
    if (part === 0) return
    await this.#pace.take(part, this.#signal)
    this.#granted += part
  }
}

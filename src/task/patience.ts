import type { Clock } from '../util/clock.ts'
import type { Piece } from './piece.ts'
import type { Slot } from './ports.ts'

/** How long one fetch may be without a new byte. All in milliseconds. */
export interface PatienceLimits {
  /** After this it is time to ask somebody else, if there is somebody. */
  readonly quietMs: number
  /** After this it is over, also when there is nobody else. A fetch that takes longer than this in all counts as quiet, however often bytes come. */
  readonly endMs: number
}

/**
 * Notices that bytes stop coming. Time during which our own disk or memory is behind does not count: that is not the sender's fault.
 *
 * One timer, armed anew when it fires and never by a byte, so a byte costs one look at the clock.
 */
export class Patience implements Disposable {
  readonly #clock: Clock
  readonly #limits: PatienceLimits
  readonly #onQuiet: () => void
  readonly #onEnd: () => void
  readonly #startedAt: number
  #lastByteAt: number
  #held = 0
  /** The timer is set to `endMs`, because it has been quiet already. */
  #far = false
  #cancel: () => void = () => undefined
  #stopped = false

  /**
   * @param onQuiet - it has been quiet for `quietMs`; called once for each silence
   * @param onEnd - it has been quiet for `endMs`; nothing is called after that
   */
  constructor(clock: Clock, limits: PatienceLimits, onQuiet: () => void, onEnd: () => void) {
    this.#clock = clock
    this.#limits = limits
    this.#onQuiet = onQuiet
    this.#onEnd = onEnd
    this.#startedAt = clock.now()
    this.#lastByteAt = this.#startedAt
    this.#arm(limits.quietMs)
  }

  /** Whether it is time to ask somebody else. */
  get quiet(): boolean {
    if (this.#stopped || this.#held > 0) return false
    const now = this.#clock.now()
    return (
      now - this.#lastByteAt >= this.#limits.quietMs || now - this.#startedAt >= this.#limits.endMs
    )
  }

  /** A byte came. */
  touch(): void {
    this.#lastByteAt = this.#clock.now()
    if (!this.#far) return
    this.#far = false
    this.#arm(this.#limits.quietMs)
  }

  /** From now on the sender waits for us. */
  hold(): void {
    this.#held++
  }

  /** We are ready again. */
  release(): void {
    this.#held--
    this.touch()
  }

  /** No more calls. */
  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  [Symbol.dispose](): void {
    this.stop()
  }

  #arm(delayMs: number): void {
    this.#cancel()
    if (this.#stopped) return
    this.#cancel = this.#clock.after(delayMs, () => this.#look())
  }

  #look(): void {
    const { quietMs, endMs } = this.#limits
    if (this.#held > 0) return this.#arm(quietMs)
    const idleMs = this.#clock.now() - this.#lastByteAt
    if (idleMs >= endMs) {
      this.stop()
      return this.#onEnd()
    }
    this.#far = idleMs >= quietMs
    this.#arm(this.#far ? endMs - idleMs : quietMs - idleMs)
    if (this.quiet) this.#onQuiet()
  }
}

/** A slot whose filling is watched. It remembers the failure of our own side, which a reader may wrap into one of the sender's. */
export class WatchedSlot implements Slot {
  readonly #slot: Slot
  readonly #patience: Patience
  readonly #onBytes: (count: number) => void
  #failure: { readonly error: unknown } | undefined

  constructor(slot: Slot, patience: Patience, onBytes: (count: number) => void) {
    this.#slot = slot
    this.#patience = patience
    this.#onBytes = onBytes
  }

  /** The error with which our own side could not keep the bytes. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#failure
  }

  get piece(): Piece {
    return this.#slot.piece
  }

  get filled(): number {
    return this.#slot.filled
  }

  space(): Uint8Array | undefined {
    return this.#slot.space()
  }

  fill(count: number): void {
    this.#slot.fill(count)
    if (count === 0) return
    this.#patience.touch()
    this.#onBytes(count)
  }

  async drained(): Promise<void> {
    this.#patience.hold()
    try {
      await this.#slot.drained()
    } catch (error) {
      this.#failure ??= { error }
      throw error
    } finally {
      this.#patience.release()
    }
  }

  async finish(): Promise<string> {
    try {
      return await this.#slot.finish()
    } catch (error) {
      this.#failure ??= { error }
      throw error
    }
  }

  release(): void {
    this.#slot.release()
  }
}

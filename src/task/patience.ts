import type { Clock } from '../util/clock.ts'
import type { Piece } from './piece.ts'
import type { Slot } from './ports.ts'

/** How long one fetch may be without a new byte. All in milliseconds. */
export interface PatienceLimits {
  /** After this it is time to ask somebody else, if there is somebody. */
  readonly quietMs: number
  /** A fetch that has taken this long in all and is behind counts as quiet, however often bytes come. */
  readonly slowMs: number
  /** After this it is over, also when there is nobody else. */
  readonly endMs: number
}

/** A timer that comes this much too late, in milliseconds, tells of our own process and not of the sender. */
const lateMs = 250

/** What a patience asks and tells. */
export interface PatienceEvents {
  /** Whether so little has come that it is better to begin anew elsewhere. */
  behind(): boolean
  /** For how long the sender has sent nothing to those who read by themselves: less than since the last byte where our disk is behind. Undefined: nobody can tell. */
  silentMs?(): number | undefined
  /** It is quiet now; called once for each silence. */
  onQuiet(): void
  /** It has been quiet for `endMs`; nothing is called after that. */
  onEnd(): void
}

/**
 * Notices that bytes stop coming. Time during which our own disk or memory is behind does not count: that is not the sender's fault.
 *
 * One timer, armed anew when it fires and never by a byte, so a byte costs one look at the clock.
 */
export class Patience implements Disposable {
  readonly #clock: Clock
  readonly #limits: PatienceLimits
  readonly #events: PatienceEvents
  readonly #startedAt: number
  #lastByteAt: number
  #longestMs = 0
  #held = 0
  #heldSince = 0
  #heldMs = 0
  /** The timer is set to `endMs`, because it has been quiet already. */
  #far = false
  #cancel: () => void = () => undefined
  #stopped = false
  #dueAt = 0
  /** The timer came late, and was set anew for that. */
  #again = false

  constructor(clock: Clock, limits: PatienceLimits, events: PatienceEvents) {
    this.#clock = clock
    this.#limits = limits
    this.#events = events
    this.#startedAt = clock.now()
    this.#lastByteAt = this.#startedAt
    this.#arm(limits.quietMs)
  }

  /** Whether it is time to ask somebody else. */
  get quiet(): boolean {
    if (this.#stopped || this.#held > 0) return false
    return this.#idleMs() >= this.#limits.quietMs || this.trickles
  }

  /** Whether it has taken so long, and is so far behind, that bytes which come now and then do not count. */
  get trickles(): boolean {
    if (this.#stopped || this.#held > 0) return false
    const tookMs = this.#clock.now() - this.#startedAt - this.#heldMs
    return tookMs >= this.#limits.slowMs && this.#events.behind()
  }

  /** The longest silence that was broken by a byte. */
  get longestMs(): number {
    return this.#longestMs
  }

  /** A byte came. */
  touch(): void {
    const now = this.#clock.now()
    if (this.#held === 0) this.#longestMs = Math.max(this.#longestMs, now - this.#lastByteAt)
    this.#lastByteAt = now
    if (!this.#far) return
    this.#far = false
    this.#arm(this.#limits.quietMs)
  }

  /** How long the sender has waited for us, in milliseconds. */
  get heldMs(): number {
    return this.#heldMs
  }

  /** From now on the sender waits for us. */
  hold(): void {
    if (this.#held++ === 0) this.#heldSince = this.#clock.now()
  }

  /** We are ready again. */
  release(): void {
    // Touched while it is held: this silence is not the sender's.
    this.touch()
    if (--this.#held === 0) this.#heldMs += this.#clock.now() - this.#heldSince
  }

  /** No more calls. */
  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  [Symbol.dispose](): void {
    this.stop()
  }

  #idleMs(): number {
    const now = this.#clock.now()
    const silentMs = this.#events.silentMs?.()
    if (silentMs !== undefined && now - silentMs > this.#lastByteAt) {
      // It waited for us meanwhile, as in `hold()`.
      this.#heldMs += now - silentMs - this.#lastByteAt
      this.#lastByteAt = now - silentMs
    }
    return now - this.#lastByteAt
  }

  #arm(delayMs: number): void {
    this.#cancel()
    if (this.#stopped) return
    // Rounded up: a rest that is lost in rounding would be waited for without end.
    const restMs = Math.max(1, Math.ceil(delayMs))
    this.#dueAt = this.#clock.now() + restMs
    this.#cancel = this.#clock.after(restMs, () => this.#look())
  }

  #look(): void {
    const { quietMs, endMs } = this.#limits
    // Our own process stood still: what came meanwhile is read in this turn of the event loop, and only the next one knows of it.
    this.#again = !this.#again && this.#clock.now() - this.#dueAt >= lateMs
    if (this.#again) return this.#arm(1)
    if (this.#held > 0) return this.#arm(quietMs)
    const idleMs = this.#idleMs()
    if (idleMs >= endMs) {
      this.stop()
      return this.#events.onEnd()
    }
    this.#far = idleMs >= quietMs
    this.#arm(this.#far ? endMs - idleMs : quietMs - idleMs)
    if (this.quiet) this.#events.onQuiet()
  }
}

/** How many silences are remembered. */
const silencesMax = 16

/**
 * What silence is usual in this download. When everybody is busy, a piece waits for its turn for a while and then comes; who goes away before that
 * queues up somewhere else, and all queues grow. So patience grows with what turned out to be worth waiting for, as a time-out of TCP does.
 */
export class UsualSilence {
  readonly #silences: number[] = []

  /** A piece came after this longest silence. */
  onKept(longestMs: number): void {
    if (this.#silences.push(longestMs) > silencesMax) this.#silences.shift()
  }

  /** Twice the median of the last silences that ended well; 0 before the first. */
  get patienceMs(): number {
    const sorted = this.#silences.toSorted((one, other) => one - other)
    return 2 * (sorted[sorted.length >> 1] ?? 0)
  }
}

/** A slot whose filling is watched. It remembers the failure of our own side, which a reader may wrap into one of the sender's. */
export class WatchedSlot implements Slot {
  readonly #slot: Slot
  readonly #patience: Patience
  readonly #onBytes: (count: number) => void
  #failure: { readonly error: unknown } | undefined

  /** See `Slot`. */
  readonly fillFrom: Slot['fillFrom']

  constructor(slot: Slot, patience: Patience, onBytes: (count: number) => void) {
    this.#slot = slot
    this.#patience = patience
    this.#onBytes = onBytes
    const { fillFrom } = slot
    if (fillFrom !== undefined) {
      this.fillFrom = (socket, signal) => this.#fillFrom(fillFrom(socket, signal), signal)
    }
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

  get silentMs(): number | undefined {
    return this.#slot.silentMs
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

  async #fillFrom(filling: Promise<number>, signal: AbortSignal): Promise<number> {
    try {
      const count = await filling
      if (count > 0) {
        this.#patience.touch()
        this.#onBytes(count)
      }
      return count
    } catch (error) {
      if (error !== signal.reason) this.#failure ??= { error }
      throw error
    }
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

  async rewind(): Promise<void> {
    this.#patience.hold()
    try {
      await this.#slot.rewind()
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

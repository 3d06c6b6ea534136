import { abortable } from '../util/scope.ts'
import { type Deferred, deferred } from '../util/deferred.ts'
import { Slots } from '../util/slots.ts'
import { TokenBucket } from '../util/rate.ts'
import type { Clock } from '../util/clock.ts'
import type { MeteredGate } from './metered-gate.ts'

/** A part that is asked for at once is what may come in this time, in milliseconds. */
const partMs = 25
/** Shortest such part in bytes: less would cost more than it smooths. */
const partBytesMin = 16 * 1024
/** Longest such part in bytes: as long as one read. */
const partBytesMax = 1024 * 1024
/** Pieces on their way under a limit come in this time together, in milliseconds: who reads slowly from many parents holds their places for nothing. */
const wayMs = 1000

/**
 * The bandwidth of one run: its own limit within the one of the peer, whichever is the tighter one.
 *
 * A run has one request at most in the queue of the peer, and each is for a small part. So the runs of a peer take turns, however many pieces each fetches.
 */
export class Pace {
  readonly #peer: MeteredGate
  readonly #own: TokenBucket
  readonly #turn = new Slots(1)
  /** Bytes of the pieces that are on their way. */
  #wayBytes = 0
  #changed: Deferred<void> = deferred()

  constructor(peer: MeteredGate, clock: Clock) {
    this.#peer = peer
    this.#own = new TokenBucket({ bytesPerSecond: undefined, clock })
  }

  /** Whether there is a limit now. */
  get limited(): boolean {
    return this.#rate() !== undefined
  }

  /** Bytes to ask for at once. */
  get partBytes(): number {
    const rate = this.#rate() ?? Number.POSITIVE_INFINITY
    return Math.floor(Math.min(Math.max((rate * partMs) / 1000, partBytesMin), partBytesMax))
  }

  /** The own limit; undefined for none. */
  setRate(bytesPerSecond: number | undefined): void {
    this.#own.setRate(bytesPerSecond)
    this.changed()
  }

  /** The limit of the peer changed. */
  changed(): void {
    this.#changed.resolve()
    this.#changed = deferred()
  }

  /** Resolves when a piece of this length may be begun. The returned function says that it has ended; safe to call twice. */
  async enter(length: number, signal: AbortSignal): Promise<() => void> {
    while (!this.#admits(length)) await abortable(this.#changed.promise, signal)
    signal.throwIfAborted()
    this.#wayBytes += length
    let open = true
    return () => {
      if (open) this.#wayBytes -= length
      open = false
      this.changed()
    }
  }

  /** Resolves when `byteCount` more bytes may come. Rejects with `signal.reason`. */
  async take(byteCount: number, signal: AbortSignal): Promise<void> {
    using _ = await this.#turn.take(signal)
    await this.#own.take(byteCount, signal)
    await this.#peer.take(byteCount, signal)
  }

  /** Counts bytes that came without asking: there was no limit when their place was given. */
  spend(byteCount: number): void {
    this.#own.spend(byteCount)
    this.#peer.spend(byteCount)
  }

  #admits(length: number): boolean {
    const rate = this.#rate()
    if (rate === undefined || this.#wayBytes === 0) return true
    return this.#wayBytes + length <= (rate * wayMs) / 1000
  }

  #rate(): number | undefined {
    const rates = [this.#own.bytesPerSecond, this.#peer.bytesPerSecond]
    const set = rates.filter((rate) => rate !== undefined)
    return set.length === 0 ? undefined : Math.min(...set)
  }
}

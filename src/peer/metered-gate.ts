import type { RateGate } from '../transport/transport.ts'
import { rateMax, type TokenBucket } from '../util/rate.ts'

/** A token bucket that counts what passes. */
export class MeteredGate implements RateGate {
  readonly #bucket: TokenBucket
  #bytes = 0

  constructor(bucket: TokenBucket) {
    this.#bucket = bucket
  }

  /** Bytes let through since the start. */
  get bytes(): number {
    return this.#bytes
  }

  /** See `RateGate`. */
  get waiting(): number {
    return this.#bucket.waiting
  }

  /** See `RateGate`. */
  get limited(): boolean {
    return this.#bucket.limited
  }

  /** The limit now; undefined when there is none. */
  get bytesPerSecond(): number | undefined {
    return this.#bucket.bytesPerSecond
  }

  /** A new limit from now on, also for those who wait. */
  setRate(bytesPerSecond: number | undefined): void {
    this.#bucket.setRate(usableRate(bytesPerSecond))
  }

  /** See `RateGate`. */
  async take(byteCount: number, signal: AbortSignal): Promise<void> {
    await this.#bucket.take(byteCount, signal)
    this.#bytes += byteCount
  }

  /** Counts bytes that passed without asking. */
  spend(byteCount: number): void {
    this.#bucket.spend(byteCount)
    this.#bytes += byteCount
  }
}

/** A rate that a bucket takes: one beyond its highest is none. */
export function usableRate(bytesPerSecond: number | undefined): number | undefined {
  return bytesPerSecond === undefined || bytesPerSecond > rateMax ? undefined : bytesPerSecond
}

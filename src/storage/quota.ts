import { PeerError } from '../errors.ts'
import { pieceLengthMin } from '../task/piece.ts'

/** Where a quota gets its figures, and whom it asks for room. */
export interface QuotaHost {
  /** What the error names. */
  readonly path: string
  /** Most bytes that may be taken. */
  readonly bytesMax: number
  /** Share of the capacity above which room is made before it is needed. */
  readonly highWater: number
  /** Drops tasks until there is room, as far as the policy allows. */
  collect(): Promise<void>
  /** Free bytes of the disk; undefined where there is no disk. */
  free?(): Promise<number>
  /** Bytes of those taken that are on the disk already; the others it still calls free. */
  written?(): number
}

/**
 * Counts the bytes of a store and refuses those that do not fit. Bytes are taken first and checked then: of two that want the last room at once
 * both may be refused, but never are both let in.
 */
export class Quota {
  readonly #host: QuotaHost
  #used = 0

  constructor(host: QuotaHost) {
    this.#host = host
  }

  /** Bytes taken now. */
  get used(): number {
    return this.#used
  }

  /** Most bytes that may be taken. */
  get bytesMax(): number {
    return this.#host.bytesMax
  }

  /** Takes without asking: what lies here from an earlier run. */
  force(bytes: number): void {
    this.#used += bytes
  }

  /** Gives bytes back. */
  give(bytes: number): void {
    this.#used -= bytes
  }

  /** Takes bytes; has others dropped when they do not fit. @throws PeerError NO_SPACE when they still do not */
  async take(bytes: number): Promise<void> {
    if (bytes <= 0) return
    this.#used += bytes
    let cause: unknown
    try {
      let { bytesMax } = await this.capacity()
      if (this.#used > bytesMax * this.#host.highWater) {
        await this.#host.collect().catch((error: unknown) => {
          cause = error
        })
        bytesMax = (await this.capacity()).bytesMax
      }
      if (this.#used <= bytesMax) return
      const available = Math.max(0, bytesMax - this.#used + bytes)
      throw new PeerError(
        'NO_SPACE',
        `${bytes} bytes do not fit into ${this.#host.path}, ${available} are free`,
        { path: this.#host.path, needed: bytes, available },
        { cause },
      )
    } catch (error) {
      this.#used -= bytes
      throw error
    }
  }

  /** Bytes taken, and how many could be: the limit, or what the disk can hold if that is less. */
  async capacity(): Promise<{ readonly bytesUsed: number; readonly bytesMax: number }> {
    const free = await this.#host.free?.()
    const bytesUsed = this.#used
    if (free === undefined) return { bytesUsed, bytesMax: this.#host.bytesMax }
    const written = this.#host.written?.() ?? 0
    return { bytesUsed, bytesMax: Math.min(this.#host.bytesMax, written + free) }
  }
}

/** How many bytes a spool of this length takes from the quota next: little for little content, and a piece at most. */
export function growth(length: number): number {
  return Math.min(Math.max(length, growthMin), pieceLengthMin)
}

/** Least of it. */
const growthMin = 64 * 1024

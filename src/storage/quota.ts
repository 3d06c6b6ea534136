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
  /** Milliseconds of a clock that only goes forward. Without it the disk is looked at for every take. */
  now?(): number
}

/** For so long a look at the disk counts, in milliseconds, while less than half of the capacity is taken: it takes a call and a walk over all tasks. */
const lookMs = 1000

/**
 * Counts the bytes of a store and refuses those that do not fit. Bytes are taken first and checked then: of two that want the last room at once
 * both may be refused, but never are both let in.
 */
export class Quota {
  readonly #host: QuotaHost
  #used = 0
  #bytesMax: number
  #looked: { readonly atMs: number; readonly bytesMax: number } | undefined

  constructor(host: QuotaHost) {
    this.#host = host
    this.#bytesMax = host.bytesMax
  }

  /** Bytes taken now. */
  get used(): number {
    return this.#used
  }

  /** Most bytes that may be taken. */
  get bytesMax(): number {
    return this.#bytesMax
  }

  /** Another limit from now on. What is taken stays taken, also when it is more. */
  setBytesMax(bytesMax: number): void {
    this.#bytesMax = bytesMax
    this.#looked = undefined
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
    if (this.#plenty()) return
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
    if (free === undefined) return { bytesUsed, bytesMax: this.#bytesMax }
    const written = this.#host.written?.() ?? 0
    const bytesMax = Math.min(this.#bytesMax, written + free)
    const atMs = this.#host.now?.()
    this.#looked = atMs === undefined ? undefined : { atMs, bytesMax }
    return { bytesUsed, bytesMax }
  }

  /** Whether there was so much room a moment ago that there is no need to look again. Should others fill the disk just now, the write says so. */
  #plenty(): boolean {
    const nowMs = this.#host.now?.()
    if (nowMs === undefined || this.#looked === undefined) return false
    if (nowMs - this.#looked.atMs >= lookMs) return false
    return this.#used * 2 <= this.#looked.bytesMax * this.#host.highWater
  }
}

/** How many bytes a spool of this length takes from the quota next: little for little content, and a piece at most. */
export function growth(length: number): number {
  return Math.min(Math.max(length, growthMin), pieceLengthMin)
}

/** Least of it. */
const growthMin = 64 * 1024

import type { Origin, OriginStat } from '../../src/task/ports.ts'
import { never, type VirtualClock } from './clock.ts'
import { contentOf } from './content.ts'

/** How a simulated origin behaves. Fields may be changed at any time. */
export interface OriginManners {
  /** Time before each chunk. */
  chunkMs: number
  chunkBytes: number
  /** Bytes that it really has. */
  length: number
  /** Thrown instead of an answer, once for each entry; then it behaves. */
  errors: unknown[]
  /** Sends nothing after this many bytes of an answer. */
  silentAfter: number
  /** Its version, if it is asked. Without one it must not be asked: most runs are told what they need to know. */
  validator: string | undefined
}

/** One reading of a simulated origin. */
export interface OriginRead {
  readonly offset: number
  readonly length: number | undefined
  readonly validator: string | undefined
  readonly at: number
  ended: boolean
}

/** An origin that counts how it is read. */
export class SimOrigin implements Origin {
  readonly manners: OriginManners
  readonly reads: OriginRead[] = []
  readonly #clock: VirtualClock
  /** Bytes sent in all. */
  sent = 0

  constructor(clock: VirtualClock, length: number, manners: Partial<OriginManners> = {}) {
    this.#clock = clock
    const silentAfter = Number.POSITIVE_INFINITY
    const usual = { chunkMs: 5, chunkBytes: 7, length, errors: [], silentAfter }
    this.manners = { ...usual, validator: undefined, ...manners }
  }

  /** Reads that have not ended. */
  get open(): number {
    return this.reads.filter((read) => !read.ended).length
  }

  stat(): Promise<OriginStat> {
    const { length, validator } = this.manners
    if (validator === undefined) throw new Error('A run does not ask for this')
    return Promise.resolve({ length, ranges: true, headers: {}, validator })
  }

  async *read(
    part: { readonly offset: number; readonly length?: number; readonly validator?: string },
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { offset, length, validator } = part
    const read = { offset, length, validator, at: this.#clock.now(), ended: false }
    this.reads.push(read)
    // One buffer for all chunks: whoever keeps a chunk sees it change.
    const chunk = new Uint8Array(this.manners.chunkBytes)
    try {
      await this.#clock.sleep(this.manners.chunkMs, signal)
      if (this.manners.errors.length > 0) throw this.manners.errors.shift()
      const end = length === undefined ? this.manners.length : offset + length
      for (let at = offset; at < Math.min(end, this.manners.length); at += chunk.length) {
        if (at - offset >= this.manners.silentAfter) await never(signal)
        const count = Math.min(chunk.length, end - at, this.manners.length - at)
        chunk.set(contentOf(at, count))
        this.sent += count
        yield chunk.subarray(0, count)
        await this.#clock.sleep(this.manners.chunkMs, signal)
      }
    } finally {
      chunk.fill(0)
      read.ended = true
    }
  }
}

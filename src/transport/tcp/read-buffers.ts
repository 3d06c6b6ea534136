import { Slots } from '../../util/slots.ts'

/** Bytes of one part of a piece on its way to a child. A part is paced as a whole, and a child must take one within the stall time. */
export const partBytes: number = 256 * 1024
/** Most pairs of buffers for reading from disk: 32 MiB in all. More uploads from disk at the same time wait. */
export const bufferPairsMax = 64

/** Two buffers: one is read into while the other is on its way to the child. */
export type BufferPair = readonly [Uint8Array, Uint8Array]

/** Buffers for pieces that lie on disk. Made when first needed, then kept: touching fresh memory costs as much as reading into it. */
export class ReadBuffers {
  readonly #slots: Slots
  readonly #free: BufferPair[] = []

  /** @param pairCount - most pairs in use at the same time */
  constructor(pairCount: number) {
    this.#slots = new Slots(Math.min(pairCount, bufferPairsMax))
  }

  /** A pair, first come, first served; `give` takes it back, once nothing reads from it or writes into it any more. */
  async take(
    signal: AbortSignal,
  ): Promise<{ readonly pair: BufferPair; readonly give: () => void }> {
    const place = await this.#slots.take(signal)
    const pair = this.#free.pop() ?? [new Uint8Array(partBytes), new Uint8Array(partBytes)]
    let held = true
    const give = (): void => {
      if (!held) return
      held = false
      this.#free.push(pair)
      place[Symbol.dispose]()
    }
    return { pair, give }
  }
}

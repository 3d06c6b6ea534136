/** Parts that the pieces of one task are counted in, at most: 512 bytes for each peer that reports. Larger tasks are counted more coarsely. */
export const partsMax = 4096

/**
 * Which parts of a task a peer has reported, for ranking only: a part counts as there when one of its pieces is. Children ask the peer itself for what it has.
 */
export class Coverage {
  readonly #pieceCount: number
  readonly #parts: number
  readonly #words: Uint32Array
  #held = 0

  constructor(pieceCount: number) {
    this.#pieceCount = pieceCount
    this.#parts = Math.min(pieceCount, partsMax)
    this.#words = new Uint32Array(Math.ceil(this.#parts / 32))
  }

  /** Parts that are there. */
  get held(): number {
    return this.#held
  }

  /** A piece is there. Numbers outside the task are ignored. */
  add(number: number): void {
    if (!Number.isInteger(number) || number < 0 || number >= this.#pieceCount) return
    const part = Math.floor((number * this.#parts) / this.#pieceCount)
    const word = this.#words[part >>> 5] ?? 0
    const bit = 1 << (part & 31)
    if ((word & bit) !== 0) return
    this.#words[part >>> 5] = word | bit
    this.#held++
  }

  /** Share of what the other lacks that is here, 0 to 1; 0 when it lacks nothing. Another cut of the content cannot be compared: 0. */
  shareOfLack(other: Coverage | undefined): number {
    if (other === undefined) return this.#parts === 0 ? 0 : this.#held / this.#parts
    const lacked = other.#parts - other.#held
    if (lacked === 0 || other.#parts !== this.#parts) return 0
    let here = 0
    for (let at = 0; at < this.#words.length; at++) {
      here += bitCount((this.#words[at] ?? 0) & ~(other.#words[at] ?? 0))
    }
    return here / lacked
  }
}

function bitCount(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555)
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333)
  return (((bits + (bits >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24
}

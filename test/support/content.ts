import { createHash } from 'node:crypto'

/** Bytes are made in blocks of this length, each from a seed of its own, so that any place can be reached without the bytes before it. */
const blockBytes = 64 * 1024

/**
 * Content of any length that nobody holds: each byte follows from the seed and its offset. Two seeds, and two blocks of one seed, have nothing
 * in common, so a byte in the wrong place is noticed.
 */
export class Content {
  /** Length in bytes. */
  readonly length: number
  /** Whole number that decides the bytes. */
  readonly seed: number
  readonly #words = new Uint32Array(blockBytes / 4)
  readonly #block = new Uint8Array(this.#words.buffer)
  #blockNumber = -1

  constructor(length: number, seed = 1) {
    this.length = length
    this.seed = seed
  }

  /** Writes the bytes from `offset` on into `target`, up to the end of either, and says how many. */
  fill(target: Uint8Array, offset: number): number {
    const end = Math.min(this.length, offset + target.length)
    let at = offset
    while (at < end) {
      const number = Math.floor(at / blockBytes)
      const from = at - number * blockBytes
      const count = Math.min(blockBytes - from, end - at)
      this.#generate(number)
      target.set(this.#block.subarray(from, from + count), at - offset)
      at += count
    }
    return Math.max(0, end - offset)
  }

  /** A copy of a part. The part must lie in the content. */
  bytes(offset = 0, length: number = this.length - offset): Uint8Array<ArrayBuffer> {
    if (offset < 0 || length < 0 || offset + length > this.length) {
      throw new RangeError(`${offset}+${length} does not lie in content of ${this.length}`)
    }
    const bytes = new Uint8Array(length)
    this.fill(bytes, offset)
    return bytes
  }

  /** The part in chunks. Each chunk is new memory and belongs to the receiver. */
  *chunks(
    offset = 0,
    length: number = this.length - offset,
    chunkBytes: number = blockBytes,
  ): Generator<Uint8Array<ArrayBuffer>> {
    const end = offset + length
    for (let at = offset; at < end; at += chunkBytes) {
      yield this.bytes(at, Math.min(chunkBytes, end - at))
    }
  }

  /** The SHA-256 of all bytes, in hexadecimal. */
  sha256(): string {
    const hash = createHash('sha256')
    const bytes = new Uint8Array(16 * blockBytes)
    for (let at = 0; at < this.length; at += bytes.length) {
      hash.update(bytes.subarray(0, this.fill(bytes, at)))
    }
    return hash.digest('hex')
  }

  /** Where the first byte of `bytes` is that differs from the content at `offset`, as an offset in the content. Undefined: none differs. */
  difference(bytes: Uint8Array, offset: number): number | undefined {
    const wanted = Buffer.allocUnsafe(blockBytes)
    for (let at = 0; at < bytes.length; at += blockBytes) {
      const part = bytes.subarray(at, at + blockBytes)
      const count = this.fill(wanted.subarray(0, part.length), offset + at)
      if (count === part.length && wanted.subarray(0, count).equals(part)) continue
      let same = 0
      while (same < count && wanted[same] === part[same]) same += 1
      return offset + at + same
    }
    return undefined
  }

  /** Fills the block. Xorshift after a mix of seed and number: of even quality, and several times faster than a socket. */
  #generate(number: number): void {
    if (this.#blockNumber === number) return
    this.#blockNumber = number
    // Zero is the one state that xorshift never leaves.
    let state = mix(mix(this.seed | 0) ^ number) || 1
    const words = this.#words
    for (let at = 0; at < words.length; at += 1) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      words[at] = state
    }
  }
}

/** The SHA-256 that content of this length and seed has, in hexadecimal. */
export function expectedSha256(length: number, seed = 1): string {
  return new Content(length, seed).sha256()
}

/** A bijection on 32 bits after which neighbours look unrelated. */
function mix(value: number): number {
  let mixed = Math.imul(value ^ 0x9e37_79b9, 0x85eb_ca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35)
  return mixed ^ (mixed >>> 16)
}

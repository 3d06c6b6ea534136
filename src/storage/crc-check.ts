import { crc32 } from '../hash/crc32.ts'

/** Compares bytes that come in order with the CRC-32 of each part of a fixed length. */
export class CrcCheck {
  readonly #crcs: readonly number[]
  readonly #partBytes: number
  #crc = 0
  /** Bytes of the part that is coming. */
  #filled = 0
  #part = 0
  #good = true

  constructor(crcs: readonly number[], partBytes: number) {
    this.#crcs = crcs
    this.#partBytes = partBytes
  }

  add(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + this.#partBytes - this.#filled)
      this.#crc = crc32(part, this.#crc)
      this.#filled += part.length
      at += part.length
      if (this.#filled === this.#partBytes) this.#end()
    }
  }

  /** Whether all parts were right and none is missing. Ends the last one. */
  good(): boolean {
    if (this.#filled > 0) this.#end()
    return this.#good && this.#part === this.#crcs.length
  }

  #end(): void {
    this.#good &&= this.#crcs[this.#part] === this.#crc
    this.#part++
    this.#crc = 0
    this.#filled = 0
  }
}

/** A set of small whole numbers below a fixed count, one bit each, that knows how many it holds. */
export class Bitmap {
  /** Undefined while none or all are held, as it is for most content that is kept: a typed array takes 200 bytes, however short it is. */
  #bits: Uint8Array | undefined
  readonly #count: number
  #held = 0

  /** @param count - numbers 0 to count − 1 can be held */
  constructor(count: number) {
    this.#count = count
  }

  /** How many numbers are possible. */
  get count(): number {
    return this.#count
  }

  /** How many numbers are held. */
  get held(): number {
    return this.#held
  }

  /** Whether every possible number is held. */
  get full(): boolean {
    return this.#held === this.#count
  }

  /** Whether this number is held; false outside the range. */
  has(number: number): boolean {
    if (!this.#inside(number)) return false
    const bits = this.#bits
    if (bits === undefined) return this.#held > 0
    return ((bits[number >> 3] ?? 0) & (1 << (number & 7))) !== 0
  }

  /** Adds a number; false when it was held already or lies outside the range. */
  add(number: number): boolean {
    if (!this.#inside(number) || this.has(number)) return false
    this.#held++
    if (this.#held === this.#count) {
      this.#bits = undefined
      return true
    }
    const bits = (this.#bits ??= new Uint8Array(Math.ceil(this.#count / 8)))
    bits[number >> 3] = (bits[number >> 3] ?? 0) | (1 << (number & 7))
    return true
  }

  /** Removes a number; false when it was not held. */
  delete(number: number): boolean {
    if (!this.has(number)) return false
    this.#held--
    if (this.#held === 0) {
      this.#bits = undefined
      return true
    }
    const bits = (this.#bits ??= new Uint8Array(Math.ceil(this.#count / 8)).fill(0xff))
    bits[number >> 3] = (bits[number >> 3] ?? 0) & ~(1 << (number & 7))
    return true
  }

  /** The numbers held, ascending. */
  *[Symbol.iterator](): Generator<number> {
    for (let number = 0; number < this.#count; number++) if (this.has(number)) yield number
  }

  #inside(number: number): boolean {
    return Number.isInteger(number) && number >= 0 && number < this.#count
  }
}

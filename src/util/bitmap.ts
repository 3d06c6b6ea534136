/** A set of small whole numbers below a fixed count, one bit each, that knows how many it holds. */
export class Bitmap {
  readonly #bits: Uint8Array
  readonly #count: number
  #held = 0

  /** @param count - numbers 0 to count − 1 can be held */
  constructor(count: number) {
    this.#count = count
    this.#bits = new Uint8Array(Math.ceil(count / 8))
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
    return ((this.#bits[number >> 3] ?? 0) & (1 << (number & 7))) !== 0
  }

  /** Adds a number; false when it was held already or lies outside the range. */
  add(number: number): boolean {
    if (!this.#inside(number) || this.has(number)) return false
    this.#bits[number >> 3] = (this.#bits[number >> 3] ?? 0) | (1 << (number & 7))
    this.#held++
    return true
  }

  /** Removes a number; false when it was not held. */
  delete(number: number): boolean {
    if (!this.has(number)) return false
    this.#bits[number >> 3] = (this.#bits[number >> 3] ?? 0) & ~(1 << (number & 7))
    this.#held--
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

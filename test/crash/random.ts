/** Numbers that follow from a seed, so that a trial can be repeated. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** At least 0, below 1. */
  share(): number {
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number from 0 on, below `count`. */
  below(count: number): number {
    return Math.floor(this.share() * count)
  }

  /** True once in `count` times. */
  oneIn(count: number): boolean {
    return this.below(count) === 0
  }

  /** One of these. */
  of<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)]
    if (value === undefined) throw new RangeError('Nothing to choose from')
    return value
  }

  /** The values in another order. */
  shuffled<T>(values: readonly T[]): T[] {
    return values
      .map((value) => ({ value, key: this.share() }))
      .toSorted((left, right) => left.key - right.key)
      .map(({ value }) => value)
  }
}

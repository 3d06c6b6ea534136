import { seeded } from '../clock.ts'

/** Chance that is the same for the same seed. */
export class Dice {
  /** 0 up to, not including, 1. */
  readonly random: () => number

  constructor(seed: number) {
    this.random = seeded(seed)
    // Neighbouring seeds begin alike; a few draws later they do not.
    for (let at = 0; at < 4; at++) this.random()
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.random() < probability
  }

  /** A whole number, both ends included. */
  whole(least: number, most: number): number {
    return least + Math.floor(this.random() * (most - least + 1))
  }

  pick<T>(list: readonly T[]): T {
    const found = list[Math.floor(this.random() * list.length)]
    if (found === undefined) throw new RangeError('There is nothing to pick from')
    return found
  }

  /** So many different ones, or all when there are fewer, in the order of the list. */
  some<T>(list: readonly T[], count: number): T[] {
    let left = Math.min(count, list.length)
    return list.filter((_, at) => {
      const taken = this.random() < left / (list.length - at)
      if (taken) left--
      return taken
    })
  }
}

import type { Bitmap } from '../util/bitmap.ts'

/** Somebody who has pieces, as `Rarity` sees it. The two figures at the end are kept by `Rarity` while the holder is admitted. */
export interface Holder {
  readonly haves: Bitmap
  /** How many waiting pieces it has. */
  useful: number
  /** The same by level: `usefulAt[2]` counts waiting pieces that it and one other holder have. */
  readonly usefulAt: number[]
}

/**
 * The waiting pieces, sorted by how many admitted holders have them: the level of a piece. Level 0 holds the pieces that nobody has.
 *
 * A search never walks over all pieces to find out that there is nothing: each holder counts its waiting pieces by level, so a level in which
 * no free holder has anything is passed over with one look. Each change costs one look at every holder.
 */
export class Rarity {
  readonly #level: Uint16Array
  /** Index of a waiting piece in its level; −1 while it does not wait. */
  readonly #place: Int32Array
  readonly #levels: number[][] = [[]]
  readonly #holders: Holder[] = []
  #waiting = 0
  /** No waiting piece of level 0 lies below. */
  #lowest = 0

  constructor(pieceCount: number) {
    this.#level = new Uint16Array(pieceCount)
    this.#place = new Int32Array(pieceCount).fill(-1)
  }

  /** How many pieces wait. */
  get waiting(): number {
    return this.#waiting
  }

  /** How many pieces wait that no admitted holder has. */
  get unreachable(): number {
    return this.#levels[0]?.length ?? 0
  }

  /** How many admitted holders have this piece. */
  level(number: number): number {
    return this.#level[number] ?? 0
  }

  /** Whether this piece waits. */
  isWaiting(number: number): boolean {
    return (this.#place[number] ?? -1) >= 0
  }

  /** From now on the piece waits. */
  wait(number: number): void {
    if (this.isWaiting(number)) return
    this.#waiting++
    this.#enter(number, this.level(number))
  }

  /** The piece does not wait any more. */
  unwait(number: number): void {
    if (!this.isWaiting(number)) return
    this.#waiting--
    this.#leave(number, this.level(number))
  }

  /** The holder counts from now on, with all that it has. */
  admit(holder: Holder): void {
    for (const number of holder.haves) this.#shift(number, 1)
    holder.useful = 0
    holder.usefulAt.length = 0
    for (const number of holder.haves) {
      if (this.isWaiting(number)) count(holder, this.level(number), 1)
    }
    this.#holders.push(holder)
  }

  /** The holder does not count any more. Nothing happens when it did not. */
  dismiss(holder: Holder): void {
    const at = this.#holders.indexOf(holder)
    if (at < 0) return
    this.#holders.splice(at, 1)
    for (const number of holder.haves) this.#shift(number, -1)
    holder.useful = 0
    holder.usefulAt.length = 0
  }

  /** An admitted holder got this piece; its bitmap says so already. */
  gained(holder: Holder, number: number): void {
    const level = this.level(number)
    // Its own count is made up first: the shift takes one from every holder at the old level.
    if (this.isWaiting(number)) count(holder, level, 1)
    this.#shift(number, 1)
  }

  /** An admitted holder does not have this piece any more; its bitmap says so already. */
  lost(holder: Holder, number: number): void {
    if (this.isWaiting(number)) count(holder, this.level(number), -1)
    this.#shift(number, -1)
  }

  /** The first waiting piece that nobody has: who reads along gets the beginning first. */
  firstUnreachable(): number | undefined {
    if (this.unreachable === 0) return undefined
    while (!this.isWaiting(this.#lowest) || this.level(this.#lowest) > 0) this.#lowest++
    return this.#lowest
  }

  /** Whether a waiting piece that nobody has is such a one. Looks at all of them until one is. */
  someUnreachable(is: (number: number) => boolean): boolean {
    return this.#levels[0]?.some(is) ?? false
  }

  /** One of the rarest waiting pieces among those that one of these holders has. All of them must be admitted. */
  pick(free: readonly Holder[], random: () => number): number | undefined {
    for (let level = 1; level < this.#levels.length; level++) {
      const bucket = this.#levels[level]
      if (bucket === undefined || bucket.length === 0) continue
      const able = free.filter((holder) => (holder.usefulAt[level] ?? 0) > 0)
      if (able.length === 0) continue
      const start = Math.floor(random() * bucket.length)
      for (let step = 0; step < bucket.length; step++) {
        const number = bucket[(start + step) % bucket.length]
        if (number !== undefined && able.some((holder) => holder.haves.has(number))) return number
      }
    }
    return undefined
  }

  #shift(number: number, by: 1 | -1): void {
    const from = this.level(number)
    const waits = this.isWaiting(number)
    if (waits) this.#leave(number, from)
    this.#level[number] = from + by
    if (waits) this.#enter(number, from + by)
  }

  #enter(number: number, level: number): void {
    while (this.#levels.length <= level) this.#levels.push([])
    const bucket = this.#levels[level]
    if (bucket === undefined) return
    this.#place[number] = bucket.push(number) - 1
    if (level === 0) this.#lowest = Math.min(this.#lowest, number)
    for (const holder of this.#holders) if (holder.haves.has(number)) count(holder, level, 1)
  }

  #leave(number: number, level: number): void {
    const bucket = this.#levels[level]
    const last = bucket?.pop()
    if (bucket === undefined || last === undefined) return
    const place = this.#place[number] ?? -1
    if (last !== number) {
      bucket[place] = last
      this.#place[last] = place
    }
    this.#place[number] = -1
    for (const holder of this.#holders) if (holder.haves.has(number)) count(holder, level, -1)
  }
}

function count(holder: Holder, level: number, by: 1 | -1): void {
  while (holder.usefulAt.length <= level) holder.usefulAt.push(0)
  holder.usefulAt[level] = (holder.usefulAt[level] ?? 0) + by
  holder.useful += by
}

/**
 * Who has how much of something bounded, so that one owner alone cannot take all of it: when it is used up, whoever has most gives way to whoever has less.
 *
 * An owner is an address here. Whoever has many of them has many shares; nothing on this side of a firewall can tell them apart.
 */
export class Shares<T> {
  /** Of each owner that has any, the oldest first. */
  readonly #items = new Map<string, Set<T>>()

  /** Items of all owners. The caller bounds them. */
  get size(): number {
    let count = 0
    for (const items of this.#items.values()) count += items.size
    return count
  }

  /** Counts an item. */
  add(owner: string, item: T): void {
    const items = this.#items.get(owner)
    if (items === undefined) this.#items.set(owner, new Set([item]))
    else items.add(item)
  }

  /** Counts it no more. */
  delete(owner: string, item: T): void {
    const items = this.#items.get(owner)
    if (items?.delete(item) === true && items.size === 0) this.#items.delete(owner)
  }

  /**
   * Takes out what gives way to a newcomer of this owner: the newest of whoever has most, if that is more than the owner would have then. Costs a step for each owner.
   */
  takeExcess(owner: string): T | undefined {
    let most: string | undefined
    let count = (this.#items.get(owner)?.size ?? 0) + 1
    for (const [each, { size }] of this.#items) {
      if (size > count) [most, count] = [each, size]
    }
    const newest = [...(this.#items.get(most ?? '') ?? [])].at(-1)
    if (most === undefined || newest === undefined) return undefined
    this.delete(most, newest)
    return newest
  }
}

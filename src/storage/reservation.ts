import type { Quota } from './quota.ts'

/** What one task takes of a quota: what it keeps, what is being filled, and what was set aside for the rest. */
export class Reservation {
  readonly #quota: Quota
  #taken: number
  #filling = 0

  /** @param taken - bytes that were taken for the task already */
  constructor(quota: Quota, taken: number) {
    this.#quota = quota
    this.#taken = taken
  }

  /** Bytes taken from the quota. */
  get taken(): number {
    return this.#taken
  }

  /** A piece is about to be filled, beside `kept` bytes that are. Asks for more when too little was set aside. @throws PeerError NO_SPACE */
  async fill(kept: number, length: number): Promise<void> {
    this.#filling += length
    try {
      await this.cover(kept)
    } catch (error) {
      this.#filling -= length
      throw error
    }
  }

  /** It is not being filled any more. */
  filled(length: number): void {
    this.#filling -= length
  }

  /** Makes sure that there is room for `kept` bytes and those being filled. @throws PeerError NO_SPACE */
  async cover(kept: number): Promise<void> {
    const more = kept + this.#filling - this.#taken
    if (more <= 0) return
    this.#taken += more
    try {
      await this.#quota.take(more)
    } catch (error) {
      this.#taken -= more
      throw error
    }
  }

  /** Gives back what was set aside and is not needed. */
  trim(kept: number): void {
    const more = this.#taken - kept - this.#filling
    if (more <= 0) return
    this.#taken -= more
    this.#quota.give(more)
  }

  /** The task is gone. */
  drop(): void {
    this.#quota.give(this.#taken)
    this.#taken = 0
  }
}

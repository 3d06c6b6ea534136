import type { Slot } from '../../task/ports.ts'

/** Most bytes of one read: what was read is still in the cache of the processor when its digest is computed. */
const readBytesMax = 1024 * 1024
/** Most bytes of the one read that follows a wait for the slot. */
const asideBytesMax = 16 * 1024
const nothing = new Uint8Array(0)

/**
 * Where the next bytes of a piece go, for a reader that must name the place before it knows whether it may read.
 *
 * Mostly that is the slot's own space. When the slot has none for now, a small buffer aside is named instead, and reading must stop; the first read after
 * the wait still goes there, because a place once named cannot be changed, and its bytes are copied into the slot. Bytes that have come and have no place
 * yet lie in that same buffer, so nothing may be read into it until `advance` says so.
 */
export class Filling {
  readonly #slot: Slot
  readonly #length: number
  #aside: Uint8Array | undefined
  /** Bytes that came aside and are not in the slot yet. */
  #rest: Uint8Array = nothing
  #target: Uint8Array = nothing
  #isAside = false

  constructor(slot: Slot, length: number) {
    this.#slot = slot
    this.#length = length
  }

  /** Memory for the next read, never more than is missing of the piece; empty when every byte has come. */
  get target(): Uint8Array {
    return this.#target
  }

  /** Whether every byte is in the slot. */
  get complete(): boolean {
    return this.#slot.filled === this.#length
  }

  /** `count` bytes have come into the target; 0 at the beginning and after a wait. False: wait for the slot, then call it again, and only then read. */
  advance(count: number): boolean {
    const afterWait = count === 0 && this.#isAside
    if (this.#isAside) {
      if (count > 0) this.#rest = this.#target.subarray(0, count)
      if (!this.#copyRest()) return this.#standAside()
    } else if (count > 0) {
      this.#slot.fill(count)
    }
    if (this.complete) {
      this.#name(nothing, false)
      return true
    }
    if (afterWait) return true
    const space = this.#space()
    if (space === undefined) return this.#standAside()
    this.#name(space.subarray(0, Math.min(this.#length - this.#slot.filled, readBytesMax)), false)
    return true
  }

  /** Content was filled past this class, and the next bytes of it come into this place, which was named already. */
  standBy(place: Uint8Array): void {
    this.#name(place, true)
  }

  #standAside(): false {
    this.#aside ??= new Uint8Array(asideBytesMax)
    const missing = this.#length - this.#slot.filled - this.#rest.length
    this.#name(this.#aside.subarray(0, Math.min(missing, asideBytesMax)), true)
    return false
  }

  #name(target: Uint8Array, isAside: boolean): void {
    this.#target = target
    this.#isAside = isAside
  }

  /** False when the slot has no space for all of it. */
  #copyRest(): boolean {
    while (this.#rest.length > 0) {
      const space = this.#space()
      if (space === undefined) return false
      const part = this.#rest.subarray(0, space.length)
      space.set(part)
      this.#slot.fill(part.length)
      this.#rest = this.#rest.subarray(part.length)
    }
    return true
  }

  /** @throws RangeError when the slot breaks its contract: an endless loop otherwise */
  #space(): Uint8Array | undefined {
    const space = this.#slot.space()
    if (space?.length === 0) {
      throw new RangeError(`The slot is full with ${this.#slot.filled} of ${this.#length} bytes`)
    }
    return space
  }
}

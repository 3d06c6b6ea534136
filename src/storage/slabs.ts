import { deferred, type Deferred } from '../util/deferred.ts'

/** Slabs in a pool: with `slabBytes` this bounds what pieces on their way to disk take, whatever their length. */
export const slabCount = 16
/** Bytes of one slab. Long enough that a write is one long call, short enough that it is still in the cache of the processor then, and that all of them are little. */
export const slabBytes: number = 512 * 1024

/**
 * Reused memory for bytes on their way to or from the disk. Slabs are made on first use, never given back to the machine, and handed out last
 * in, first out: the one whose pages and cache lines are warm goes first. First touch of fresh pages costs more than the copy into them.
 *
 * Nobody may wait here while holding a slab; then no circle of waiters can form, and every slab comes back when its holder's own work ends.
 * Who holds one and would like another uses `tryTake()`, which never waits and never overtakes those who do.
 */
export class SlabPool {
  /** Most slabs out at a time. */
  readonly count: number
  /** Length of each. */
  readonly slabBytes: number
  readonly #free: Uint8Array[] = []
  /** In order of arrival. A Set, so that one that is aborted leaves in constant time. */
  readonly #waiting = new Set<Deferred<Uint8Array>>()
  #made = 0

  constructor(options: { readonly count?: number; readonly slabBytes?: number } = {}) {
    this.count = positive('count', options.count ?? slabCount)
    this.slabBytes = positive('slabBytes', options.slabBytes ?? slabBytes)
  }

  /** How many wait for a slab. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Slabs that are out now. */
  get taken(): number {
    return this.#made - this.#free.length
  }

  /** A slab if one is free and nobody waits for it. */
  tryTake(): Uint8Array | undefined {
    return this.#waiting.size > 0 ? undefined : this.#next()
  }

  /** A slab; waits, first come first served. For those who hold none. */
  async take(signal: AbortSignal): Promise<Uint8Array> {
    signal.throwIfAborted()
    const slab = this.tryTake()
    if (slab !== undefined) return slab
    const place = deferred<Uint8Array>()
    this.#waiting.add(place)
    const leave = (): void => {
      if (this.#waiting.delete(place)) place.reject(signal.reason)
    }
    signal.addEventListener('abort', leave, { once: true })
    try {
      return await place.promise
    } finally {
      signal.removeEventListener('abort', leave)
    }
  }

  /** Gives a slab back. Exactly once for each that was taken. */
  give(slab: Uint8Array): void {
    const [place] = this.#waiting
    if (place === undefined) {
      this.#free.push(slab)
      return
    }
    this.#waiting.delete(place)
    place.resolve(slab)
  }

  #next(): Uint8Array | undefined {
    const slab = this.#free.pop()
    if (slab !== undefined || this.#made === this.count) return slab
    this.#made++
    return new Uint8Array(this.slabBytes)
  }
}

function positive(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new RangeError(`${name} must be a whole number above 0, got ${value}`)
}

import { type Deferred, deferred } from '../util/deferred.ts'

interface Claim {
  /** Wait to have the piece themselves, in order. */
  readonly next: Set<Deferred<void>>
  /** Wait for what becomes of it. */
  readonly watching: Set<Deferred<void>>
}

/**
 * Who is filling which piece: one at a time. Others wait for their turn, or just for the outcome. Waiting is bounded by the callers: a slot that
 * is wanted is a running fetch, an outcome that is wanted is a running request, and both have limits of their own.
 */
export class Claims {
  /** Undefined while nothing is being filled: every task has one of these, and an empty map takes 180 bytes. */
  #open: Map<number, Claim> | undefined

  /** Pieces that are being filled. */
  get count(): number {
    return this.#open?.size ?? 0
  }

  /** Whether the piece is being filled. */
  has(number: number): boolean {
    return this.#open?.has(number) === true
  }

  /** Resolves when the piece is the caller's; then `release` must follow. */
  async take(number: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const claim = this.#open?.get(number)
    if (claim === undefined) {
      this.#open ??= new Map()
      this.#open.set(number, { next: new Set(), watching: new Set() })
      return
    }
    await waitIn(claim.next, signal)
  }

  /** Resolves when the one who fills the piece lets go of it, kept or not; at once when nobody does. */
  async outcome(number: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const claim = this.#open?.get(number)
    if (claim !== undefined) await waitIn(claim.watching, signal)
  }

  /** Lets go. The next in line has the piece then. */
  release(number: number): void {
    const claim = this.#open?.get(number)
    if (claim === undefined) return
    for (const place of claim.watching) place.resolve()
    claim.watching.clear()
    const [place] = claim.next
    if (place === undefined) {
      this.#open?.delete(number)
      if (this.#open?.size === 0) this.#open = undefined
      return
    }
    claim.next.delete(place)
    place.resolve()
  }
}

async function waitIn(line: Set<Deferred<void>>, signal: AbortSignal): Promise<void> {
  const place = deferred<void>()
  line.add(place)
  const leave = (): void => {
    if (line.delete(place)) place.reject(signal.reason)
  }
  signal.addEventListener('abort', leave, { once: true })
  try {
    await place.promise
  } finally {
    signal.removeEventListener('abort', leave)
  }
}

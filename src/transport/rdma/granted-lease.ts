import { randomBytes } from 'node:crypto'
import type { Clock } from '../../util/clock.ts'
import { leaseLifetimeMsMax, leaseTtlMs } from './limits.ts'

/** What ends with a lease, for each of its pieces. */
export interface LeaseEnd {
  /** It was read to the end, as the child says. */
  readonly read: boolean
  /** It was taken away: the child did not ask for more time, or its connection is over. */
  readonly revoked: boolean
}

/** A lease, as the parent keeps it: the right of one child to read some pieces until it says that it is done, or does not renew it in time. */
export class GrantedLease {
  /** 128 random bits. */
  readonly id: string = randomBytes(16).toString('hex')
  readonly #clock: Clock
  readonly #pieces: ReadonlyMap<number, (how: LeaseEnd) => void>
  readonly #onExpired: () => void
  readonly #begunAt: number
  #stopTimer: () => void
  #over = false

  /** @param pieces - what to call at the end, by number of the piece */
  constructor(
    clock: Clock,
    pieces: ReadonlyMap<number, (how: LeaseEnd) => void>,
    onExpired: () => void,
  ) {
    this.#clock = clock
    this.#pieces = pieces
    this.#onExpired = onExpired
    this.#begunAt = clock.now()
    this.#stopTimer = clock.after(leaseTtlMs, onExpired)
  }

  /** How many pieces it is for. */
  get count(): number {
    return this.#pieces.size
  }

  /** Gives more time, up to a limit for all of it; the time to live from now on. */
  renew(): number {
    if (this.#over || this.#clock.now() - this.#begunAt >= leaseLifetimeMsMax) return leaseTtlMs
    this.#stopTimer()
    this.#stopTimer = this.#clock.after(leaseTtlMs, this.#onExpired)
    return leaseTtlMs
  }

  /** any → over. */
  end(read: ReadonlySet<number>, revoked: boolean): void {
    if (this.#over) return
    this.#over = true
    this.#stopTimer()
    for (const [number, end] of this.#pieces) end({ read: read.has(number), revoked })
  }
}

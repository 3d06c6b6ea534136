import type { Parent } from '../../task/ports.ts'
import type { Clock } from '../../util/clock.ts'
import { wrongTtl } from './checks.ts'
import type { Lease, LeasedPiece, RdmaControl } from './control.ts'
import { leaseIdleMs } from './limits.ts'

/** What a lease needs to live. */
export interface LeaseHost {
  readonly control: RdmaControl
  readonly parent: Parent
  readonly clock: Clock
  /** Fires when the connection is over. */
  readonly signal: AbortSignal
  /** Waits for calls that tidy up, before everything is closed. */
  readonly tidy: (work: (signal: AbortSignal) => Promise<void>) => void
}

/** What a lease tells. */
export interface LeaseEvents {
  /** These pieces cannot be taken any more. */
  onUnused(numbers: readonly number[]): void
  /** It is released. */
  onOver(): void
}

/** A leased piece in use. */
export interface Grant {
  readonly piece: LeasedPiece
  /** It is not used any more. `read`: it was read to the end. */
  readonly done: (read: boolean) => void
}

/**
 * A lease, as the child holds it: renewed while one of its pieces is being read or was taken lately, released when all are done with. Pieces that were leased
 * ahead and that nobody took for a while are given up.
 */
export class HeldLease {
  readonly #host: LeaseHost
  readonly #id: string
  readonly #unused: Map<number, LeasedPiece>
  readonly #read: number[] = []
  readonly #events: LeaseEvents
  #using = 0
  /** A piece was taken since the last look. */
  #taken = true
  #renewAt: number
  #stopTimer: () => void = () => undefined
  #over = false

  constructor(host: LeaseHost, lease: Lease, events: LeaseEvents) {
    this.#host = host
    this.#id = lease.id
    this.#unused = new Map(lease.pieces.map((piece) => [piece.number, piece]))
    this.#events = events
    this.#renewAt = host.clock.now() + lease.ttlMs / 3
    this.#look()
  }

  /** Takes a piece; undefined when it is not free. */
  take(number: number): Grant | undefined {
    const piece = this.#unused.get(number)
    if (piece === undefined || this.#over) return undefined
    this.#unused.delete(number)
    this.#using++
    this.#taken = true
    let open = true
    return {
      piece,
      done: (read) => {
        if (!open) return
        open = false
        this.#using--
        if (read) this.#read.push(number)
        this.#releaseIfDone()
      },
    }
  }

  /** Gives up what is not in use. */
  letGo(): void {
    const numbers = [...this.#unused.keys()]
    this.#unused.clear()
    if (numbers.length > 0) this.#events.onUnused(numbers)
    this.#releaseIfDone()
  }

  #releaseIfDone(): void {
    if (this.#over || this.#using > 0 || this.#unused.size > 0) return
    this.#over = true
    this.#stopTimer()
    this.#events.onOver()
    const { control, parent } = this.#host
    this.#host.tidy((signal) => control.release(parent, this.#id, this.#read, signal))
  }

  /** Renews it in time. What nobody took from one look to the next is given up. */
  #look(): void {
    const { clock } = this.#host
    const inMs = Math.min(leaseIdleMs, Math.max(0, this.#renewAt - clock.now()))
    this.#stopTimer = clock.after(inMs, () => {
      if (!this.#taken) this.letGo()
      this.#taken = false
      if (this.#over) return
      if (clock.now() >= this.#renewAt) void this.#renew()
      else this.#look()
    })
  }

  async #renew(): Promise<void> {
    const { control, parent, signal } = this.#host
    try {
      const ttlMs = await control.renew(parent, this.#id, signal)
      if (this.#over) return
      if (wrongTtl(ttlMs) !== undefined) return this.letGo()
      this.#renewAt = this.#host.clock.now() + ttlMs / 3
      this.#look()
    } catch {
      // What is being read ends well, or with an error of its own.
      this.letGo()
    }
  }
}

import type { TaskKind } from '../../task/kind.ts'
import type { Piece } from '../../task/piece.ts'
import { abortable, Scope } from '../../util/scope.ts'
import { protocolBroken, unreachable } from '../parent-errors.ts'
import { wrongLease } from './checks.ts'
import type { Lease, LeaseRequest } from './control.ts'
import { type Grant, HeldLease, type LeaseHost } from './held-lease.ts'
import { aheadCount, answerTimeoutMs } from './limits.ts'

/** What the leases of one task over one connection need. */
export interface BookHost extends LeaseHost {
  /** Number of the queue pair at the parent. */
  readonly queuePair: number
  readonly mtu: number
  readonly taskId: string
  readonly kind: TaskKind
}

/**
 * What one task may be read of over one connection. The first piece is asked for alone; when the parent says that it has more in registered memory, whole
 * blocks of pieces are asked for at once, so that one call serves many pieces.
 */
export class LeaseBook {
  readonly #host: BookHost
  readonly #free = new Map<number, HeldLease>()
  readonly #leases = new Set<HeldLease>()
  /** Pieces that were taken, or asked for alone: they are not asked for ahead. */
  readonly #past = new Set<number>()
  #more = false
  #asking: Promise<void> | undefined
  #users = 0

  constructor(host: BookHost) {
    this.#host = host
  }

  /** Whether a piece is being read or asked for. */
  get inUse(): boolean {
    return this.#users > 0
  }

  /**
   * The right to read a piece.
   *
   * @throws PeerError PARENT_UNREACHABLE, PARENT_REFUSED, PARENT_PROTOCOL, LIMIT_REACHED
   */
  async take(piece: Piece, parent: string, signal: AbortSignal): Promise<Grant> {
    this.#users++
    try {
      const grant = await this.#take(piece.number, parent, signal)
      const { done } = grant
      return {
        piece: grant.piece,
        done: (read) => {
          this.#users--
          done(read)
        },
      }
    } catch (error) {
      this.#users--
      throw error
    }
  }

  /** Gives up what is not in use. */
  letGo(): void {
    for (const lease of [...this.#leases]) lease.letGo()
  }

  async #take(number: number, parent: string, signal: AbortSignal): Promise<Grant> {
    for (let asked = false; ; ) {
      const grant = this.#free.get(number)?.take(number)
      this.#free.delete(number)
      if (grant !== undefined) {
        this.#past.add(number)
        return grant
      }
      if (this.#asking !== undefined) {
        await abortable(this.#asking, signal)
      } else if (this.#more && !asked) {
        asked = true
        this.#asking = this.#askBlock(number).finally(() => {
          this.#asking = undefined
        })
      } else {
        return await this.#askFor(number, parent, signal)
      }
    }
  }

  async #askFor(number: number, parent: string, signal: AbortSignal): Promise<Grant> {
    this.#past.add(number)
    const lease = await this.#ask([number], true, parent, signal)
    const held = this.#hold(lease)
    // Its number is compared with what was asked for by whoever uses it.
    const grant = held.take(lease.pieces[0]?.number ?? number)
    if (grant === undefined) throw unreachable(parent, 'Its lease is over already')
    return grant
  }

  /** A block of numbers around this one. Never rejects: what did not come is asked for alone. */
  async #askBlock(number: number): Promise<void> {
    const first = number - (number % aheadCount)
    const numbers = Array.from({ length: aheadCount }, (_, at) => first + at)
    const parent = this.#host.parent.id
    using scope = new Scope([this.#host.signal], {
      timeoutMs: answerTimeoutMs,
      onTimeout: () => unreachable(parent, 'No answer in time'),
      clock: this.#host.clock,
    })
    try {
      const wanted = numbers.filter(
        (each) => each === number || !(this.#free.has(each) || this.#past.has(each)),
      )
      const lease = await this.#ask(wanted, false, parent, scope.signal)
      if (lease.pieces.length === 0) return
      const held = this.#hold(lease)
      for (const piece of lease.pieces) this.#free.set(piece.number, held)
    } catch {
      this.#more = false
    }
  }

  async #ask(
    pieces: readonly number[],
    wait: boolean,
    parent: string,
    signal: AbortSignal,
  ): Promise<Lease> {
    const { control, queuePair, mtu, taskId, kind } = this.#host
    const request: LeaseRequest = { queuePair, mtu, taskId, kind, pieces, wait }
    const lease = await control.lease(this.#host.parent, request, signal)
    const wrong = wrongLease(lease, request)
    if (wrong !== undefined) throw protocolBroken(parent, wrong)
    this.#more = lease.more
    return lease
  }

  #hold(lease: Lease): HeldLease {
    const held: HeldLease = new HeldLease(this.#host, lease, {
      onUnused: (numbers) => {
        for (const number of numbers) {
          if (this.#free.get(number) === held) this.#free.delete(number)
        }
      },
      onOver: () => this.#leases.delete(held),
    })
    this.#leases.add(held)
    return held
  }
}

import { PeerError } from '../errors.ts'
import { type Piece, pieceAt, type Range } from './piece.ts'
import type { TrafficKind } from './ports.ts'
import { Seat, type SeatHost } from './share.ts'

/** The downloads that take part in a run. */
export class Seats {
  readonly #host: SeatHost
  readonly #all = new Set<Seat>()

  constructor(host: SeatHost) {
    this.#host = host
  }

  /** How many there are. */
  get size(): number {
    return this.#all.size
  }

  /** What the only one wants; undefined for everything, and when there are several. */
  get range(): Range | undefined {
    const [only] = this.#all
    return this.#all.size === 1 ? only?.range : undefined
  }

  /** One more. @throws RangeError when the range is empty or starts past the content */
  take(range: Range | undefined): Seat {
    const seat = new Seat(this.#host, range)
    this.#all.add(seat)
    return seat
  }

  /** One less. False when it was not one of them. */
  leave(seat: Seat): boolean {
    return this.#all.delete(seat)
  }

  /** Whether anybody wants the piece. */
  want(number: number): boolean {
    for (const seat of this.#all) if (seat.wants(number)) return true
    return false
  }

  /** The piece is kept. Who knows already does not count it again. */
  onKept(piece: Piece, traffic: TrafficKind): void {
    for (const seat of this.#all) seat.onKept(piece, traffic)
  }

  /** All fail that are not done. */
  fail(reason: unknown): void {
    for (const seat of this.#all) seat.fail(reason)
  }

  /** The run has everything that was wanted. Nobody goes on waiting: who was not told of a piece hears of it now, and of one that is not here any more too. */
  finish(): void {
    for (const seat of this.#all) {
      for (let number = seat.first; number <= seat.last && seat.wants(number); number++) {
        if (this.#host.has(number)) seat.onKept(pieceAt(this.#host.cut, number), 'local')
      }
    }
    this.fail(new PeerError('CLOSED', 'The run ended without a piece', { what: 'run' }))
  }
}

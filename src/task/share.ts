import { PeerError } from '../errors.ts'
import { Bitmap } from '../util/bitmap.ts'
import { type Deferred, deferred } from '../util/deferred.ts'
import { type Geometry, numbersIn, type Piece, pieceAt, type Range } from './piece.ts'
import type { TrafficKind } from './ports.ts'
import { type Progress, Tally } from './progress.ts'

/** One download's part in a run: what it wants, how far that is, and the way out. */
export interface Share {
  /** The wanted part of the content; undefined for all of it. */
  readonly range: Range | undefined
  /**
   * Resolves when every wanted piece is kept. Rejects with the error that ended the run, or with the reason of `leave`.
   * Nobody has to listen to it.
   */
  readonly done: Promise<void>
  /**
   * Resolves when this piece is kept, and asks for it before others. Rejects as `done` does.
   *
   * @throws RangeError when the piece is not a wanted one
   */
  wait(number: number): Promise<void>
  /** Asks for these pieces before others, in this order, without waiting. Numbers that are not wanted are passed over. */
  urge(numbers: readonly number[]): void
  /** The counts at this moment. */
  progress(): Progress
  /** Calls with the counts after each kept piece. A listener that throws ends this share with FOREIGN. The returned function ends the calls. */
  onProgress(listener: (progress: Progress) => void): () => void
  /**
   * This share wants nothing any more. What only it wanted is not fetched any further, and the last one to leave ends the run. Safe to call at any time.
   *
   * @param reason - what `done` and `wait` reject with; a PeerError CLOSED when it is left out
   */
  leave(reason?: unknown): void
}

/** What a share needs of its run. */
export interface SeatHost {
  readonly cut: Geometry
  has(number: number): boolean
  urge(numbers: readonly number[]): void
  /** The seat is empty: it rejects with `reason`, unless it was done. */
  leave(seat: Seat, reason: unknown): void
}

/** The run's side of a share. */
export class Seat implements Share {
  readonly range: Range | undefined
  readonly #host: SeatHost
  readonly #first: number
  readonly #last: number
  readonly #tally = new Tally()
  /** What was counted as kept, from `first` on. A piece may be here before its job has told. */
  readonly #counted: Bitmap
  readonly #done: Deferred<void> = deferred()
  readonly #waiting = new Map<number, Deferred<void>>()
  readonly #listeners = new Set<(progress: Progress) => void>()
  #state: { readonly is: 'open' | 'done' } | { readonly is: 'failed'; readonly reason: unknown } = {
    is: 'open',
  }

  /** @throws RangeError when the range is empty or starts past the content */
  constructor(host: SeatHost, range: Range | undefined) {
    const numbers = numbersIn(host.cut, range)
    this.range = range
    this.#host = host
    this.#first = numbers[0] ?? 0
    this.#last = numbers.at(-1) ?? -1
    this.#counted = new Bitmap(numbers.length)
    this.#tally.want(host.cut, this.#first, this.#last)
    // Nobody has to listen to `done`; who does gets the rejection all the same.
    this.#done.promise.catch(() => undefined)
    for (const number of numbers) {
      if (host.has(number)) this.#count(pieceAt(host.cut, number), 'local')
    }
    this.#settle()
  }

  /** See `Share`. */
  get done(): Promise<void> {
    return this.#done.promise
  }

  /** First wanted number. */
  get first(): number {
    return this.#first
  }

  /** Last wanted number; below `first` when nothing is wanted. */
  get last(): number {
    return this.#last
  }

  /** Whether this share wants the piece. */
  wants(number: number): boolean {
    return this.#state.is === 'open' && number >= this.#first && number <= this.#last
  }

  /** See `Share`. */
  wait(number: number): Promise<void> {
    if (!Number.isInteger(number) || number < this.#first || number > this.#last) {
      throw new RangeError(`Piece ${number} is not in this share`)
    }
    if (this.#state.is === 'failed') return Promise.reject(this.#state.reason)
    if (this.#host.has(number)) return Promise.resolve()
    // The run is over; what was dropped since does not come any more.
    if (this.#state.is === 'done') return Promise.reject(droppedSince(number))
    let waiting = this.#waiting.get(number)
    if (waiting === undefined) {
      waiting = deferred<void>()
      // As with `done`: a reader may have gone away.
      waiting.promise.catch(() => undefined)
      this.#waiting.set(number, waiting)
    }
    this.#host.urge([number])
    return waiting.promise
  }

  /** See `Share`. */
  urge(numbers: readonly number[]): void {
    if (this.#state.is !== 'open') return
    this.#host.urge(numbers.filter((number) => this.wants(number)))
  }

  /** See `Share`. */
  progress(): Progress {
    return this.#tally.progress()
  }

  /** See `Share`. */
  onProgress(listener: (progress: Progress) => void): () => void {
    // Wrapped, so that one function given twice is two listeners.
    const entry = (progress: Progress): void => listener(progress)
    this.#listeners.add(entry)
    return () => this.#listeners.delete(entry)
  }

  /** See `Share`. */
  leave(reason: unknown = closed()): void {
    this.#host.leave(this, reason)
  }

  /** A piece was kept, wanted here or not. */
  onKept(piece: Piece, traffic: TrafficKind): void {
    if (!this.wants(piece.number)) return
    this.#waiting.get(piece.number)?.resolve()
    this.#waiting.delete(piece.number)
    if (!this.#count(piece, traffic)) return
    this.#tell()
    this.#settle()
  }

  /** open → failed. Nothing happens when it is done. */
  fail(reason: unknown): void {
    if (this.#state.is !== 'open') return
    this.#state = { is: 'failed', reason }
    this.#done.reject(reason)
    for (const waiting of this.#waiting.values()) waiting.reject(reason)
    this.#waiting.clear()
    this.#listeners.clear()
  }

  /** False when it was counted before. */
  #count(piece: Piece, traffic: TrafficKind): boolean {
    if (!this.#counted.add(piece.number - this.#first)) return false
    this.#tally.kept(piece, traffic)
    return true
  }

  /** open → done, when nothing is missing. */
  #settle(): void {
    if (this.#state.is !== 'open' || this.#tally.missing > 0) return
    this.#state = { is: 'done' }
    this.#done.resolve()
    for (const [number, waiting] of this.#waiting) waiting.reject(droppedSince(number))
    this.#waiting.clear()
  }

  #tell(): void {
    if (this.#listeners.size === 0) return
    const progress = this.progress()
    for (const listener of this.#listeners) {
      try {
        listener(progress)
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause)
        const where = 'onProgress'
        return this.leave(
          new PeerError('FOREIGN', 'A progress listener threw', { where, reason }, { cause }),
        )
      }
    }
  }
}

function closed(): PeerError<'CLOSED'> {
  return new PeerError('CLOSED', 'The download was closed', { what: 'download' })
}

function droppedSince(number: number): PeerError<'CLOSED'> {
  return new PeerError('CLOSED', `Piece ${number} was kept by a run that has ended, and dropped`, {
    what: 'run',
  })
}

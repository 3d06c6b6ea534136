import type { Clock } from '../util/clock.ts'
import type { Said } from './dialect.ts'

/**
 * Piece reports that wait to be sent, at most; 16 MiB/s of small pieces make four in a second. When a scheduler takes them more slowly than
 * pieces are finished, the oldest is dropped: the scheduler then thinks that this peer has less than it has, and ranks it lower as a parent. Nothing else
 * follows, because children ask the peer itself which pieces it has.
 */
export const reportsMax = 1024

/** Milliseconds after a report of pieces in which more of them are gathered, for a scheduler that takes several at once. */
export const gatherMs = 50

type PieceSaid = Said & { readonly is: 'piece' }

/** What a session has to say and the stream has not taken yet. Taking never waits on the side of the download. */
export class ReportQueue {
  #items: Said[] = []
  #reports = 0
  #dropped = 0
  #closed = false
  #gathering: Clock | undefined
  /** Ends the rest after a report. Set while the queue rests: then nothing but pieces waits in it. */
  #endRest: (() => void) | undefined
  #wake: () => void = () => undefined

  /** How many reports were dropped. */
  get dropped(): number {
    return this.#dropped
  }

  /** How many items wait. */
  get length(): number {
    return this.#items.length
  }

  /**
   * From now on pieces of one parent are told together. The first goes at once, so that nothing small waits for a timer, and whatever is not a piece takes along
   * what stands before it.
   */
  gather(clock: Clock): void {
    this.#gathering = clock
  }

  /** Adds one; of piece reports the oldest goes when there are too many. Ignored after `close()`. */
  push(said: Said): void {
    if (this.#closed) return
    if (isReport(said)) {
      if (this.#reports >= reportsMax) this.#dropOldest()
      this.#reports++
    }
    this.#items.push(said)
    if (said.is !== 'piece') this.#endRest?.()
    if (this.#endRest === undefined) this.#wake()
  }

  /** Nothing more comes: the stream ends after what waits. */
  close(): void {
    this.#closed = true
    this.#endRest?.()
    this.#wake()
  }

  /** Nothing more comes, and nothing of what waits is wanted. */
  clear(): void {
    this.#items.length = 0
    this.#reports = 0
    this.close()
  }

  /** Takes one item after the other, until `close()`. One taker at a time: a new one takes over from the one before. */
  async *drain(): AsyncGenerator<Said> {
    for (;;) {
      const said = this.#endRest === undefined ? this.#take() : undefined
      if (said !== undefined) {
        yield said
      } else if (this.#closed) {
        return
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    }
  }

  #take(): Said | undefined {
    const said = this.#items.shift()
    if (said !== undefined && isReport(said)) this.#reports--
    if (said?.is !== 'piece' || this.#gathering === undefined) return said
    const also = said.report.traffic === 'peer' ? this.#takeAlong(said) : []
    if (this.#items.length === 0 && !this.#closed) this.#rest(this.#gathering)
    return { ...said, also }
  }

  /** Numbers of the pieces that wait and came from the same parent, up to the first item that is none: the order of the others tells something. */
  #takeAlong({ report: { parentId, traffic } }: PieceSaid): number[] {
    const end = this.#items.findIndex(({ is }) => is !== 'piece')
    const waiting = end < 0 ? this.#items : this.#items.slice(0, end)
    const numbers: number[] = []
    const left: Said[] = []
    for (const said of waiting) {
      const along =
        isPiece(said) && said.report.parentId === parentId && said.report.traffic === traffic
      if (along) numbers.push(said.report.piece.number)
      else left.push(said)
    }
    this.#items = end < 0 ? left : [...left, ...this.#items.slice(end)]
    this.#reports -= numbers.length
    return numbers
  }

  #rest(clock: Clock): void {
    const cancel = clock.after(gatherMs, () => this.#endRest?.())
    this.#endRest = () => {
      cancel()
      this.#endRest = undefined
      this.#wake()
    }
  }

  #dropOldest(): void {
    const at = this.#items.findIndex(isReport)
    this.#items.splice(at, 1)
    this.#reports--
    this.#dropped++
  }
}

function isPiece(said: Said): said is PieceSaid {
  return said.is === 'piece'
}

function isReport(said: Said): boolean {
  return said.is === 'piece' || said.is === 'pieceFailed'
}

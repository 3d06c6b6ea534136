import type { Said } from './dialect.ts'

/**
 * Piece reports that wait to be sent, at most; 16 MiB/s of small pieces make four in a second. When a scheduler takes them more slowly than
 * pieces are finished, the oldest is dropped: the scheduler then thinks that this peer has less than it has, and ranks it lower as a parent. Nothing else
 * follows, because children ask the peer itself which pieces it has.
 */
export const reportsMax = 1024

/** What a session has to say and the stream has not taken yet. Taking never waits on the side of the download. */
export class ReportQueue {
  readonly #items: Said[] = []
  #reports = 0
  #dropped = 0
  #closed = false
  #wake: () => void = () => undefined

  /** How many reports were dropped. */
  get dropped(): number {
    return this.#dropped
  }

  /** How many items wait. */
  get length(): number {
    return this.#items.length
  }

  /** Adds one; of piece reports the oldest goes when there are too many. Ignored after `close()`. */
  push(said: Said): void {
    if (this.#closed) return
    if (isReport(said)) {
      if (this.#reports >= reportsMax) this.#dropOldest()
      this.#reports++
    }
    this.#items.push(said)
    this.#wake()
  }

  /** Nothing more comes: the stream ends after what waits. */
  close(): void {
    this.#closed = true
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
      const said = this.#items.shift()
      if (said !== undefined) {
        if (isReport(said)) this.#reports--
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

  #dropOldest(): void {
    const at = this.#items.findIndex(isReport)
    this.#items.splice(at, 1)
    this.#reports--
    this.#dropped++
  }
}

function isReport(said: Said): boolean {
  return said.is === 'piece' || said.is === 'pieceFailed'
}

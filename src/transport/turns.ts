import type { Clock } from '../util/clock.ts'
import type { RateGate } from './transport.ts'

/** Sends counted for single pieces, at most; the one that was sent longest ago is forgotten. 1 to 2 MiB of memory. */
const countsMax = 16_384
/** Times that a request is passed over for a piece that was sent less often, at most: a child that has nobody else needs pieces that others have. */
const passedMax = 6
/** How often it is looked whether those who have their turn use up the rate, in milliseconds. */
const lookMs = 50
/** After so many looks in a row that found nobody waiting for bytes, one more has its turn. */
const idleLooks = 4

interface Waiter {
  readonly piece: string
  readonly go: () => void
  passed: number
}

/**
 * Who sends next. Of those who wait, the one whose piece was sent least often; of equals, the one that came first.
 *
 * Under a limit of the rate pieces go out whole, one after the other: eight at an eighth of the speed each would all be complete, and could be passed on, only
 * when the last of them is. When the child cannot take its piece as fast, others have their turn beside it. Without a limit nobody waits here.
 */
export class Turns {
  readonly #rate: RateGate
  readonly #clock: Clock
  readonly #waiting = new Set<Waiter>()
  readonly #sent = new Map<string, number>()
  #running = 0
  /** Turns beside the first, because that one leaves a part of the rate. */
  #extra = 0
  #idle = 0
  #looking = false

  /** @param rate - what all that have a turn share */
  constructor(rate: RateGate, clock: Clock) {
    this.#rate = rate
    this.#clock = clock
  }

  /** Resolves with a turn; dispose it to give it back (twice is safe). Rejects with `signal.reason`. @param piece - names it among all */
  async take(piece: string, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    if (this.#waiting.size === 0 && this.#running < this.#atOnce) return this.#begin(piece)
    await new Promise<void>((resolve, reject) => {
      const waiter: Waiter = {
        piece,
        passed: 0,
        go: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      const leave = (): void => {
        this.#waiting.delete(waiter)
        reject(signal.reason)
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.add(waiter)
      this.#advance()
    })
    return this.#turn()
  }

  #begin(piece: string): Disposable {
    this.#running++
    this.#count(piece)
    return this.#turn()
  }

  #turn(): Disposable {
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (!held) return
        held = false
        this.#running--
        this.#extra = Math.max(0, Math.min(this.#extra, this.#running))
        this.#advance()
      },
    }
  }

  #advance(): void {
    while (this.#waiting.size > 0 && this.#running < this.#atOnce) this.#start()
    if (this.#waiting.size > 0) this.#look()
  }

  get #atOnce(): number {
    return this.#rate.limited === true ? 1 + this.#extra : Number.POSITIVE_INFINITY
  }

  #start(): void {
    let next: Waiter | undefined
    let least = Number.POSITIVE_INFINITY
    for (const waiter of this.#waiting) {
      const count = waiter.passed >= passedMax ? -1 : (this.#sent.get(waiter.piece) ?? 0)
      if (count >= least) continue
      least = count
      next = waiter
    }
    if (next === undefined) return
    for (const waiter of this.#waiting) {
      if (waiter === next) break
      waiter.passed++
    }
    this.#waiting.delete(next)
    this.#running++
    this.#count(next.piece)
    next.go()
  }

  #count(piece: string): void {
    const count = (this.#sent.get(piece) ?? 0) + 1
    this.#sent.delete(piece)
    this.#sent.set(piece, count)
    const [oldest] = this.#sent.keys()
    if (this.#sent.size > countsMax && oldest !== undefined) this.#sent.delete(oldest)
  }

  /** One timer while somebody waits. */
  #look(): void {
    if (this.#looking) return
    this.#looking = true
    this.#clock.after(lookMs, () => {
      this.#looking = false
      // Not known, or used up: somebody who has his turn waits for bytes.
      this.#idle = this.#rate.waiting === 0 ? this.#idle + 1 : 0
      if (this.#idle >= idleLooks) {
        this.#idle = 0
        this.#extra++
      }
      this.#advance()
    })
  }
}

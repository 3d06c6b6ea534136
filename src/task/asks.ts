import { betterPlaces, idle, type Member } from './choice.ts'
import type { Slow } from './hedge.ts'
import type { PlannerLimits } from './plan.ts'

/** Times that one piece is moved from one queue to another, at most: each costs a connection. */
const movesMax = 2

/** Who is asked for which piece: the part of the planner that knows about pieces on their way. */
export class Asks {
  readonly #members: ReadonlyMap<string, Member>
  readonly #limits: PlannerLimits
  /** Whom a piece is asked of. */
  readonly #asked = new Map<number, Member>()
  /** Who else is asked for it. */
  readonly #seconds = new Map<number, Member>()
  /** To whom a piece goes whose job has been told to stop for that. */
  readonly #moving = new Map<number, Member>()
  /** How often a missing piece was moved. */
  readonly #moves = new Map<number, number>()

  constructor(members: ReadonlyMap<string, Member>, limits: PlannerLimits) {
    this.#members = members
    this.#limits = limits
  }

  /** The piece is asked of this parent. */
  begin(number: number, from: Member): void {
    from.inFlight++
    this.#asked.set(number, from)
  }

  /** The job of the piece has ended. */
  end(number: number, from: Member): void {
    from.inFlight--
    this.#asked.delete(number)
    this.endSecond(number)
  }

  /** The piece is here. */
  forget(number: number): void {
    this.#moves.delete(number)
  }

  /** Pieces that are to leave their queue for another one; `nextMoved()` says which. */
  moves(queued: (number: number) => boolean): number[] {
    const waiting = new Map<number, Member>()
    for (const [number, from] of this.#asked) {
      if ((this.#moves.get(number) ?? 0) < movesMax && queued(number)) waiting.set(number, from)
    }
    const moves = betterPlaces(waiting, this.#asked, this.#members, this.#limits)
    for (const [number, to] of moves) {
      this.#moves.set(number, (this.#moves.get(number) ?? 0) + 1)
      this.#moving.set(number, to)
    }
    return [...moves.keys()]
  }

  /** A piece that has left its queue, and who has it still. */
  nextMoved(waits: (number: number) => boolean): readonly [number, Member] | undefined {
    for (const [number, to] of this.#moving) {
      if (this.#asked.has(number)) continue
      this.#moving.delete(number)
      const there = this.#members.get(to.id) === to && to.allowed && to.haves.has(number)
      if (there && waits(number)) return [number, to]
    }
    return undefined
  }

  /** Asks a second parent for one of these pieces, which has nothing to do and would bring it in half the time. */
  second(slow: readonly Slow[], length: number): readonly [number, Member] | undefined {
    for (const { number, restMs } of slow) {
      if (!this.#asked.has(number) || this.#seconds.has(number)) continue
      const [second] = idle(this.#members.values(), number)
      if (second === undefined || (length / second.rate) * 2 >= restMs) continue
      second.inFlight++
      this.#seconds.set(number, second)
      return [number, second]
    }
    return undefined
  }

  /** The second one is not asked any more. */
  endSecond(number: number): void {
    const second = this.#seconds.get(number)
    if (second !== undefined) second.inFlight--
    this.#seconds.delete(number)
  }

  /** The second one was faster: from now on it counts as the one who is asked. Undefined when there is none. */
  win(number: number): Member | undefined {
    const first = this.#asked.get(number)
    const second = this.#seconds.get(number)
    if (first === undefined || second === undefined) return undefined
    first.inFlight--
    this.#seconds.delete(number)
    this.#asked.set(number, second)
    return second
  }
}

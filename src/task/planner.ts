import { Bitmap } from '../util/bitmap.ts'
import { Asks } from './asks.ts'
import { best, freeOf, type Member, rarest } from './choice.ts'
import { type Geometry, pieceAt } from './piece.ts'
import {
  type OriginMode,
  originId,
  type ParentLoad,
  type PieceCounts,
  type Plan,
  type PlannerLimits,
} from './plan.ts'
import type { Slow } from './hedge.ts'
import { Rarity } from './rarity.ts'

/*
 * The planner decides which piece is asked of whom. It does nothing itself: no await, no clock, no sending.
 *
 * Who owns what
 *   Run       tells what happened, asks `next()`, and starts what it is told. It alone calls the planner.
 *   Parents   knows who is to blame for what, and says through Run who is paused and who is gone.
 *   Fetcher   runs what `next()` gave. A piece stays `fetching` until its job has really ended, because there is one open slot per piece.
 *   Planner   owns the facts below, and each is stored once.
 *
 * The facts
 *   1  state of each piece         `#states`; undefined: nobody wants it
 *   2  what each parent has        `#parents[…].haves`, without the pieces that it refused (`refused`)
 *   3  who may be asked            `allowed`; only these count in `#rarity`
 *   4  how much each is asked now  `inFlight`
 *   5  which pieces wait, by how many allowed parents have them: `#rarity`
 *   6  which pieces a reader waits for: `#urgent`, in the order of asking
 *   7  how the origin may be used: `#origin`
 *
 * The choice of the piece: one that a reader waits for; else the first that only the origin has, if that may be asked; else the rarest that somebody
 * with a free place has, and a random one among equals, so that children of one parent take different pieces and can exchange them.
 * The choice of the parent: the one that has the fewest of our missing pieces (the least complete, which leaves the uplinks of better
 * parents to pieces that only they have), then the least busy, then the fastest. The origin gets only what no allowed parent has.
 *
 * Sparing: while a parent delivers that is far less complete, a better one is asked for one piece at a time, but for what a reader waits for. Who has everything is everybody's
 * parent, and each piece that it sends twice is one that it could have sent to somebody who can get it nowhere else. How many pieces each is asked for, and who is
 * spared, is in `choice.ts`; pieces that are on their way, that move and that are asked of two are in `asks.ts`. What each rule gave is in DESIGN.md.
 */

type PieceState =
  | { readonly is: 'wanted' }
  | { readonly is: 'fetching'; readonly from: Member | 'origin' }
  /** Still being fetched, and nobody wants it any more. */
  | { readonly is: 'leaving'; readonly from: Member | 'origin' }
  | { readonly is: 'done' }

const wanted: PieceState = Object.freeze({ is: 'wanted' })
const done: PieceState = Object.freeze({ is: 'done' })
/** Most waiting pieces that `next()` looks at because a reader waits for them; further ones take their turn by rarity. */
const urgentLooksMax = 64
/** Weight of the newest piece in the smoothed rate. */
const rateWeight = 0.3

/** Decides which piece is asked of whom. See the top of the file. */
export class Planner {
  readonly #cut: Geometry
  readonly #limits: PlannerLimits
  readonly #random: () => number
  readonly #states: (PieceState | undefined)[]
  readonly #rarity: Rarity
  readonly #parents = new Map<string, Member>()
  readonly #urgent = new Set<number>()
  readonly #origin: { mode: OriginMode; inFlight: number } = { mode: 'closed', inFlight: 0 }
  #fetching = 0
  #done = 0
  #arrivals = 0
  #lastWanted = -1
  readonly #asks: Asks

  /** @param random - 0 up to, not including, 1 */
  constructor(cut: Geometry, limits: PlannerLimits, random: () => number) {
    this.#cut = cut
    this.#limits = limits
    this.#random = random
    this.#states = Array.from({ length: cut.pieceCount })
    this.#rarity = new Rarity(cut.pieceCount)
    this.#asks = new Asks(this.#parents, limits)
  }

  /** How many pieces are in which state. */
  get counts(): PieceCounts {
    return {
      waiting: this.#rarity.waiting,
      unreachable: this.#rarity.unreachable,
      fetching: this.#fetching,
      done: this.#done,
    }
  }

  /** Wanted pieces that are not kept yet. */
  get missing(): number {
    return this.#rarity.waiting + this.#fetching
  }

  /** Highest number that anybody ever wanted; −1 before. */
  get lastWanted(): number {
    return this.#lastWanted
  }

  /** The numbers of wanted pieces that are not kept, ascending; with `parent` only those that it has not told or refused. Walks over all pieces. */
  missingNumbers(parent?: string): number[] {
    const member = parent === undefined ? undefined : this.#parents.get(parent)
    const numbers: number[] = []
    for (const [number, state] of this.#states.entries()) {
      if (state?.is !== 'wanted' && state?.is !== 'fetching') continue
      if (member?.haves.has(number) || member?.refused.has(number)) continue
      numbers.push(number)
    }
    return numbers
  }

  /** What is known of a parent; undefined when it is not here. */
  load(parent: string): ParentLoad | undefined {
    const member = this.#parents.get(parent)
    if (member === undefined) return undefined
    return { haves: member.haves.held, inFlight: member.inFlight, rate: member.rate }
  }

  /** nothing → wanted, leaving → fetching. False when it was wanted or kept already. */
  want(number: number): boolean {
    const state = this.#states[number]
    if (state !== undefined && state.is !== 'leaving') return false
    this.#lastWanted = Math.max(this.#lastWanted, number)
    if (state === undefined) {
      this.#states[number] = wanted
      this.#rarity.wait(number)
      return true
    }
    // Its job has been told to stop: when that has ended the piece is wanted again.
    this.#states[number] = { is: 'fetching', from: state.from }
    this.#fetching++
    return true
  }

  /** The same of a piece that is certainly not here, so done → wanted too: it was found damaged since, and dropped. */
  wantMissing(number: number): boolean {
    if (this.#states[number]?.is === 'done') {
      this.#states[number] = undefined
      this.#done--
    }
    return this.want(number)
  }

  /** wanted → nothing, fetching → leaving. True when a job is to be stopped. */
  unwant(number: number): boolean {
    const state = this.#states[number]
    this.#urgent.delete(number)
    if (state?.is === 'wanted') {
      this.#rarity.unwait(number)
      this.#states[number] = undefined
    } else if (state?.is === 'fetching') {
      this.#states[number] = { is: 'leaving', from: state.from }
      this.#fetching--
      return true
    }
    return false
  }

  /** Somebody waits for these pieces: they come first, in this order, after those that were urged before. */
  urge(numbers: Iterable<number>): void {
    for (const number of numbers) {
      const state = this.#states[number]
      if (state?.is === 'wanted' || state?.is === 'fetching') this.#urgent.add(number)
    }
  }

  /** New parents that may be asked; what they have is told by `onHave`. Known ones stay as they are. */
  onParents(ids: Iterable<string>): void {
    for (const id of ids) {
      if (id === originId || this.#parents.has(id)) continue
      const member: Member = {
        id,
        haves: new Bitmap(this.#cut.pieceCount),
        useful: 0,
        usefulAt: [],
        refused: new Set(),
        inFlight: 0,
        rate: 0,
        allowed: true,
        onTrial: false,
        lastArrival: Number.NEGATIVE_INFINITY,
      }
      this.#parents.set(id, member)
      this.#rarity.admit(member)
    }
  }

  /** A parent has a piece. True when that is news and the piece is missing here. */
  onHave(parent: string, number: number): boolean {
    const member = this.#parents.get(parent)
    if (member === undefined || member.refused.has(number)) return false
    if (!member.haves.add(number)) return false
    if (member.allowed) this.#rarity.gained(member, number)
    const state = this.#states[number]
    return state?.is === 'wanted' || state?.is === 'fetching'
  }

  /** The parent is not asked for a while. Its pieces in flight go on. */
  onParentPaused(parent: string): void {
    const member = this.#parents.get(parent)
    if (member === undefined || !member.allowed) return
    member.allowed = false
    this.#rarity.dismiss(member)
  }

  /** The parent may be asked again, for one piece at first: whether it has recovered will be seen. */
  onParentResumed(parent: string): void {
    const member = this.#parents.get(parent)
    if (member === undefined || member.allowed) return
    member.allowed = true
    member.onTrial = true
    this.#rarity.admit(member)
  }

  /** The parent is forgotten. Its jobs are to be stopped; their pieces stay `fetching` until they have ended. */
  onParentGone(parent: string): void {
    // Its jobs still point to it: it must not count when they end.
    this.onParentPaused(parent)
    this.#parents.delete(parent)
  }

  /** The parent has nothing of what it told. Its jobs are to be stopped; what it tells from now on counts. */
  onParentEmptied(parent: string): void {
    const member = this.#parents.get(parent)
    if (member === undefined) return
    const { allowed } = member
    this.onParentGone(parent)
    this.onParents([parent])
    if (!allowed) this.onParentPaused(parent)
  }

  /** How the origin may be used from now on. Its pieces in flight go on. */
  onOrigin(mode: OriginMode): void {
    this.#origin.mode = mode
  }

  /** fetching, leaving → done. `costMs` is what the fetch took. */
  onDone(number: number, costMs: number): void {
    const from = this.#land(number)
    if (from === undefined) return
    this.#keep(number)
    this.#arrivals++
    if (from === 'origin') return
    from.lastArrival = this.#arrivals
    from.onTrial = false
    const rate = pieceAt(this.#cut, number).length / Math.max(costMs, 1)
    from.rate = from.rate === 0 ? rate : from.rate + (rate - from.rate) * rateWeight
  }

  /** fetching → wanted, leaving → nothing. `refused`: this parent is not asked for this piece again. */
  onFailed(number: number, refused: boolean): void {
    const leaving = this.#states[number]?.is === 'leaving'
    const from = this.#land(number)
    if (from === undefined) return
    if (leaving) {
      this.#states[number] = undefined
    } else {
      this.#states[number] = wanted
      this.#rarity.wait(number)
    }
    if (!refused || from === 'origin') return
    from.refused.add(number)
    if (from.haves.delete(number) && from.allowed) this.#rarity.lost(from, number)
  }

  /** nothing, wanted → done: the piece is here, whoever brought it. A piece that is being fetched is left to its job. True when it was wanted. */
  onKept(number: number): boolean {
    const state = this.#states[number]
    if (state !== undefined && state.is !== 'wanted') return false
    this.#rarity.unwait(number)
    this.#keep(number)
    return state !== undefined
  }

  /** The next thing to do, which counts as begun: wanted → fetching. Undefined when there is nothing that can be done now. */
  next(): Plan | undefined {
    const moved = this.#asks.nextMoved((number) => this.#rarity.isWaiting(number))
    if (moved !== undefined) {
      this.#begin(...moved)
      return { piece: pieceAt(this.#cut, moved[0]), parent: moved[1].id }
    }
    const choice = freeOf(this.#parents, this.#arrivals, this.#limits)
    const { free } = choice
    const origin =
      this.#origin.mode === 'pieces' && this.#origin.inFlight < this.#limits.originInFlightMax
    if (free.length === 0 && (!origin || this.#rarity.unreachable === 0)) return undefined
    const number =
      this.#pickUrgent(free, origin) ??
      (origin ? this.#rarity.firstUnreachable() : undefined) ??
      rarest(this.#rarity, choice, this.#random)
    if (number === undefined) return undefined
    const parent = best(free, number, this.#random)
    this.#begin(number, parent ?? 'origin')
    return { piece: pieceAt(this.#cut, number), parent: parent?.id ?? originId }
  }

  /**
   * Pieces whose jobs are to be stopped, because they are better asked of somebody else; `next()` gives them to that parent when they have ended.
   *
   * @param queued - whether nothing of this piece has come for a while
   */
  moves(queued: (number: number) => boolean): number[] {
    return this.#asks.moves((each) => this.#states[each]?.is === 'fetching' && queued(each))
  }

  /** The end game: nothing else can be asked for. A second parent for one of these pieces; it counts as asked until `onHedged`, or until the piece is here. */
  hedge(slow: readonly Slow[]): Plan | undefined {
    if (this.#rarity.waiting > this.#rarity.unreachable) return undefined
    const found = this.#asks.second(slow, this.#cut.pieceLength)
    if (found === undefined) return undefined
    return { piece: pieceAt(this.#cut, found[0]), parent: found[1].id }
  }

  /** The second fetch of this piece is over. `won`: the piece is of its parent, and the first one is free. */
  onHedged(number: number, won: boolean): void {
    const state = this.#states[number]
    const second = won ? this.#asks.win(number) : undefined
    if (second === undefined) this.#asks.endSecond(number)
    else if (state?.is === 'fetching' || state?.is === 'leaving') {
      this.#states[number] = { is: state.is, from: second }
    }
  }

  /** The origin's stream has reached this piece: wanted → fetching from the origin. False when it is not to be stored. */
  claim(number: number): boolean {
    if (this.#states[number]?.is !== 'wanted') return false
    this.#begin(number, 'origin')
    return true
  }

  /** Whether a waiting piece is had by nobody who may be asked, and by none of these who may be asked later. */
  hasOrphans(resting: readonly string[]): boolean {
    const members = resting.map((id) => this.#parents.get(id))
    return this.#rarity.someUnreachable(
      (number) => !members.some((member) => member?.haves.has(number)),
    )
  }

  /** Whether somebody else than this parent could be asked for the piece, now or when a place is free. */
  hasOther(number: number, parent: string): boolean {
    if (parent !== originId && this.#origin.mode === 'pieces') return true
    const member = this.#parents.get(parent)
    const counts = member !== undefined && member.allowed && member.haves.has(number)
    return this.#rarity.level(number) > (counts ? 1 : 0)
  }

  #pickUrgent(free: readonly Member[], origin: boolean): number | undefined {
    let looks = 0
    for (const number of this.#urgent) {
      if (!this.#rarity.isWaiting(number)) continue
      if (++looks > urgentLooksMax) return undefined
      if (this.#rarity.level(number) === 0) {
        if (origin) return number
      } else if (free.some((member) => member.haves.has(number))) {
        return number
      }
    }
    return undefined
  }

  #begin(number: number, from: Member | 'origin'): void {
    this.#rarity.unwait(number)
    this.#states[number] = { is: 'fetching', from }
    this.#fetching++
    if (from === 'origin') this.#origin.inFlight++
    else this.#asks.begin(number, from)
  }

  /** The job of this piece has ended: its place is free. Whom it asked; undefined when there was no job. */
  #land(number: number): Member | 'origin' | undefined {
    const state = this.#states[number]
    if (state?.is !== 'fetching' && state?.is !== 'leaving') return undefined
    if (state.is === 'fetching') this.#fetching--
    if (state.from === 'origin') this.#origin.inFlight--
    else this.#asks.end(number, state.from)
    return state.from
  }

  #keep(number: number): void {
    this.#urgent.delete(number)
    this.#asks.forget(number)
    this.#states[number] = done
    this.#done++
  }
}

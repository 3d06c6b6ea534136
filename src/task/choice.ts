import type { PlannerLimits } from './plan.ts'
import type { Holder, Rarity } from './rarity.ts'

/** What the planner knows of a parent. */
export interface Member extends Holder {
  readonly id: string
  /** Pieces that it is not asked for again. */
  readonly refused: Set<number>
  /** Pieces that it is asked for now. */
  inFlight: number
  /** Bytes per millisecond of its last pieces, smoothed; 0 before the first. */
  rate: number
  allowed: boolean
  /** It was paused and has not delivered since: it is asked for one piece only. */
  onTrial: boolean
  /** Which of our pieces its last one was, by order of arrival; −∞ before its first. */
  lastArrival: number
}

/** Pieces that the only parent is asked for at once: what it queues shows it how much depends on it. Others have somebody else, and ask for fewer. */
export const soleInFlightMax = 8
/** A parent that gave one of this many last pieces is a deliverer, and better ones are spared. */
const recentArrivals = 8
/** Far less complete: having at most this part of the missing pieces that the other has. */
const sparedBelow = 0.5

/** Who has a free place. */
export interface Free {
  /** The parents that have a waiting piece and a free place. */
  readonly free: readonly Member[]
  /** The same without those that are to be spared. */
  readonly sparing: readonly Member[]
}

/** Pieces that this parent may be asked for at once. */
export function placesOf(member: Member, sole: boolean, limits: PlannerLimits): number {
  if (member.onTrial) return 1
  if (!sole) return limits.parentInFlightMax
  const { concurrency = limits.parentInFlightMax } = limits
  return Math.min(concurrency, soleInFlightMax)
}

/** Whether only one of them may be asked. */
export function isSole(members: Iterable<Member>): boolean {
  let allowed = 0
  for (const member of members) if (member.allowed) allowed++
  return allowed === 1
}

/** Who can be asked for something. @param arrivals - pieces that came so far */
export function freeOf(
  members: ReadonlyMap<string, Member>,
  arrivals: number,
  limits: PlannerLimits,
): Free {
  const sole = isSole(members.values())
  let least = Number.POSITIVE_INFINITY
  for (const { allowed, lastArrival, useful } of members.values()) {
    if (allowed && arrivals - lastArrival < recentArrivals) least = Math.min(least, useful)
  }
  const free: Member[] = []
  const sparing: Member[] = []
  for (const member of members.values()) {
    const { allowed, useful, inFlight } = member
    if (!allowed || useful === 0 || inFlight >= placesOf(member, sole, limits)) continue
    free.push(member)
    if (inFlight === 0 || least > useful * sparedBelow) sparing.push(member)
  }
  return { free, sparing }
}

/** The rarest piece that somebody who is not to be spared has, a random one among equals. */
export function rarest(
  rarity: Rarity,
  { sparing }: Free,
  random: () => number,
): number | undefined {
  return rarity.pick(sparing, random)
}

/** Who of these is asked for the piece: the least complete, the least busy, the fastest. */
export function best(
  free: readonly Member[],
  number: number,
  _random: () => number,
): Member | undefined {
  let found: Member | undefined
  for (const member of free) {
    if (!member.haves.has(number)) continue
    if (found === undefined || before(member, found)) found = member
  }
  return found
}

function before(one: Member, other: Member): boolean {
  if (one.useful !== other.useful) return one.useful < other.useful
  if (one.inFlight !== other.inFlight) return one.inFlight < other.inFlight
  return one.rate > other.rate
}

/** Parents that have this piece, are asked for nothing, and are known to deliver; the fastest first. */
export function idle(members: Iterable<Member>, number: number): Member[] {
  return [...members]
    .filter(({ allowed, onTrial, inFlight, rate, haves }) => {
      return allowed && !onTrial && inFlight === 0 && rate > 0 && haves.has(number)
    })
    .sort((one, other) => other.rate - one.rate)
}

/** A piece that is asked of somebody now. */
export type Asked = ReadonlyMap<number, Member>

/**
 * Which of these pieces are better asked of somebody else, and of whom: of a less complete parent that has got the piece since and has a free place. Whoever
 * stands in the queue of a complete parent for what it can have elsewhere keeps those waiting who cannot.
 *
 * @param asked - pieces of which nothing has come, with the parent in whose queue they stand
 * @param all - every piece that is asked of somebody
 */
export function betterPlaces(
  asked: Asked,
  all: Asked,
  members: ReadonlyMap<string, Member>,
  limits: PlannerLimits,
): Map<number, Member> {
  const found = new Map<number, Member>()
  if (asked.size === 0 || members.size < 2) return found
  const sole = isSole(members.values())
  const taken = new Map<Member, number>()
  for (const [number, from] of asked) {
    const now = lackedAt(from, all)
    let target: Member | undefined
    for (const member of members.values()) {
      if (member === from || !member.allowed || !member.haves.has(number)) continue
      const places = placesOf(member, sole, limits) - member.inFlight - (taken.get(member) ?? 0)
      if (places <= 0 || lackedAt(member, all) >= now) continue
      if (target === undefined || member.useful < target.useful) target = member
    }
    if (target === undefined) continue
    taken.set(target, (taken.get(target) ?? 0) + 1)
    found.set(number, target)
  }
  return found
}

/** How many of our missing pieces it has, those that are asked for already included. */
function lackedAt(member: Member, all: Asked): number {
  let count = member.useful
  for (const number of all.keys()) if (member.haves.has(number)) count++
  return count
}

/**
 * The choice of the Rust client, as far as it can be had in this engine: eight pieces at once, each of a random one of the parents that have it (they have equal
 * idle bandwidth, so equal weights). Which piece comes first is left to chance, which is better than upstream's order of arrival: there all children of a seed ask for
 * the same pieces.
 */
import type { betterPlaces as ours, Free, Member } from '../src/task/choice.ts'
import type { PlannerLimits } from '../src/task/plan.ts'
import type { Rarity } from '../src/task/rarity.ts'

/** Nobody is spared, and one parent may get everything that is asked at once. */
export function freeOf(
  members: ReadonlyMap<string, Member>,
  _arrivals: number,
  { concurrency = 8 }: PlannerLimits,
): Free {
  const free = [...members.values()].filter(
    ({ allowed, useful, inFlight }) => allowed && useful > 0 && inFlight < concurrency,
  )
  return { free, sparing: free }
}

/** A random piece that somebody has. */
export function rarest(rarity: Rarity, { free }: Free, random: () => number): number | undefined {
  const numbers = new Set<number>()
  for (const { haves } of free) {
    for (const number of haves) if (rarity.isWaiting(number)) numbers.add(number)
  }
  return [...numbers][Math.floor(random() * numbers.size)]
}

/** A random parent. */
export function best(
  free: readonly Member[],
  number: number,
  random: () => number,
): Member | undefined {
  const able = free.filter(({ haves }) => haves.has(number))
  return able[Math.floor(random() * able.length)]
}

/** A piece stays where it was asked. */
export const betterPlaces: typeof ours = () => new Map()

/** No piece is asked of two. */
export function idle(): Member[] {
  return []
}

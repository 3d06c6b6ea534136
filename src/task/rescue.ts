import { PeerError } from '../errors.ts'
import type { Dialogue } from './dialogue.ts'
import type { Feeds } from './feeds.ts'
import type { OriginGate } from './origin-gate.ts'
import type { Parents } from './parents.ts'
import type { Planner } from './planner.ts'
import type { Pulse } from './pulse.ts'

/**
 * Without progress for this long the scheduler is asked whether the parents can still deliver, in milliseconds. Doubles with each such question of a run: pieces that
 * come slowly must not use up the answers that a scheduler gives.
 */
export const doubtMs: number = 10_000

/** What a rescue looks at. */
export interface RescueWorld {
  readonly task: string
  readonly planner: Planner
  readonly parents: Parents
  readonly feeds: Feeds
  readonly gate: OriginGate
  readonly dialogue: Dialogue
  readonly pulse: Pulse
  /** Whether the scheduler can be asked for more parents without harm. */
  readonly doubts: boolean
  /** Hope in a parent that only promises ends after this long without any progress. */
  readonly quietTimeoutMs: number
  /**
   * The same when there is no scheduler to see that peers wait for each other, and the origin may be used. Differs from peer to peer, so that one goes
   * and the others follow it.
   */
  readonly loneHopeMs: number
  /** Time without any hope after which the run has failed. */
  readonly parentsTimeoutMs: number
  /** The last failure of a parent, for the error. */
  readonly lastError: () => unknown
}

/**
 * What a look found.
 * `fine`: everything that is missing can come. `wait`: help was called, or may come. `opened`: the origin may be asked now.
 * `lost`: nobody can help; the error is the origin's own word, or NO_PARENTS when the origin was not in question.
 */
export type Finding =
  | { readonly is: 'fine' | 'wait' | 'opened' }
  | { readonly is: 'lost'; readonly error: unknown }

/**
 * Finds help when pieces are missing that nobody who may be asked has: first the scheduler, for other parents; then the origin; then a new
 * registration, if the scheduler was lost. The time without any hope is measured, and pieces that come start it anew.
 */
export class Rescue {
  readonly #world: RescueWorld
  #progressAt: number
  /** Since when there is no hope. */
  #stuckAt: number | undefined
  /** Earlier time without hope since the last progress. */
  #spentMs = 0
  /** Questions that were asked although there was hope. */
  #doubts = 0
  /** A parent died, and no such question was asked since. */
  #bereft = false

  constructor(world: RescueWorld, now: number) {
    this.#world = world
    this.#progressAt = now
  }

  /** A byte came, or the news that a parent has a missing piece. */
  onProgress(now: number): void {
    this.#progressAt = now
    this.#spentMs = 0
    if (this.#stuckAt !== undefined) this.#stuckAt = now
  }

  /** A parent was given up because it is dead. Those who are left may all have hoped for it, and for each other. */
  onDeath(): void {
    this.#bereft = true
  }

  /** Looks, and calls for help when there is need. */
  look(now: number): Finding {
    const { planner, gate, dialogue, parents, pulse } = this.#world
    const { unreachable, fetching } = planner.counts
    pulse.look()
    if (unreachable === 0 || this.#hope(now)) {
      this.#leaveStuck(now)
      this.#doubt(now)
      return { is: 'fine' }
    }
    this.#stuckAt ??= now
    if (fetching === 0) {
      if (dialogue.forbidden) return { is: 'lost', error: dialogue.error }
      if (gate.error !== undefined) return { is: 'lost', error: gate.error }
      if (!gate.available && now >= this.#deadline()) {
        return { is: 'lost', error: this.#noParents(now - this.#progressAt) }
      }
    }
    if (dialogue.busy) return { is: 'wait' }
    if (dialogue.ask(() => parents.all(), 'No parent has the pieces that are missing')) {
      return { is: 'wait' }
    }
    if (gate.available && gate.open()) {
      this.#leaveStuck(now)
      return { is: 'opened' }
    }
    dialogue.reopen()
    return { is: 'wait' }
  }

  /** When to look again although nothing happened; undefined when there is no such time. */
  lookAt(now: number): number | undefined {
    const { planner, gate, parents } = this.#world
    const times = [parents.thawAt(), gate.thawAt]
    const { unreachable, fetching } = planner.counts
    if (unreachable > 0 && fetching === 0) {
      if (this.#stuckAt === undefined) {
        times.push(this.#progressAt + this.#hopeMs(), this.#doubtAt)
      } else if (!gate.available) times.push(this.#deadline())
    }
    // What lies behind was acted upon in `look`, or something else gives hope.
    const ahead = times.filter((time) => time !== undefined && time > now) as number[]
    return ahead.length === 0 ? undefined : Math.min(...ahead)
  }

  /** Whether the missing pieces may come without help: somebody will be asked again soon, or a live parent may get them and tell. */
  #hope(now: number): boolean {
    const { planner, parents, feeds, gate } = this.#world
    if (gate.hopeful || !planner.hasOrphans(parents.resting())) return true
    const quiet = planner.counts.fetching === 0 && now - this.#progressAt >= this.#hopeMs()
    return !quiet && parents.usable().some((parent) => feeds.mayTell(parent.id))
  }

  /**
   * Parents that only promise may wait for each other, because the one that fed them is gone. They cannot know; the scheduler can, and has somebody else or sends
   * one of them to the origin. The question names only those who are given up: to the others more may come, and who reads a slow origin is not blamed for it.
   */
  #doubt(now: number): void {
    const { planner, gate, dialogue, parents, feeds, doubts } = this.#world
    const { unreachable, fetching } = planner.counts
    if (!doubts || unreachable === 0 || fetching > 0 || gate.hopeful || now < this.#doubtAt) return
    if (!parents.usable().some(({ id }) => feeds.state(id) === 'open')) return
    if (!dialogue.askMore(parents.unusable(), 'Nothing comes from the parents')) return
    this.#doubts++
    this.#bereft = false
  }

  get #doubtAt(): number {
    if (this.#bereft) return this.#progressAt
    return this.#progressAt + doubtMs * 2 ** this.#doubts
  }

  #hopeMs(): number {
    const { dialogue, gate, quietTimeoutMs, parentsTimeoutMs, loneHopeMs } = this.#world
    // No parent can get from the origin what is no longer there: those who have only a part of it wait for each other.
    if (PeerError.is(gate.error, 'ORIGIN_CHANGED'))
      return Math.min(quietTimeoutMs, parentsTimeoutMs)
    // Without the origin there is nowhere to go: a parent that is slow to begin is then better than none.
    const lone = dialogue.state === 'over' && gate.available
    return lone ? Math.min(quietTimeoutMs, loneHopeMs) : quietTimeoutMs
  }

  #noParents(waitedMs: number): PeerError<'NO_PARENTS'> {
    const { task, parents, dialogue, lastError } = this.#world
    const tried = parents.all().length
    const cause = lastError() ?? dialogue.error
    return new PeerError(
      'NO_PARENTS',
      `Nobody who may be asked has the rest of the content: ${tried} parents tried, nothing for ${Math.round(waitedMs)} ms`,
      { task, tried, waitedMs },
      cause === undefined ? {} : { cause },
    )
  }

  #leaveStuck(now: number): void {
    if (this.#stuckAt === undefined) return
    this.#spentMs += now - this.#stuckAt
    this.#stuckAt = undefined
  }

  #deadline(): number {
    return (this.#stuckAt ?? 0) + this.#world.parentsTimeoutMs - this.#spentMs
  }
}

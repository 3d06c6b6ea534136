import { PeerError } from '../errors.ts'
import type { Parents } from './parents.ts'
import type { Geometry } from './piece.ts'
import type { Announcer, Parent, TaskSpec } from './ports.ts'

/**
 * Parents, named and met, with whom a run meets no further child: half as many again as a scheduler names at once. Fewer were slower, more hardly faster (DESIGN.md), and each
 * costs the scheduler a call and both peers a feed.
 */
export const companyMax: number = 6
/** Most children that a scheduler is asked about in one run: whoever can reach this peer can make up names. */
export const questionsMax: number = 64

/** What meetings work with. */
export interface MeetingsWorld {
  readonly spec: TaskSpec
  readonly cut: Geometry
  readonly announcer: Pick<Announcer, 'find'>
  readonly parents: Pick<Parents, 'state' | 'company' | 'hasHost'>
  /** Token of the version that is wanted, as far as it is known now. */
  readonly version: () => string | undefined
}

/** What meetings tell. */
export interface MeetingsEvents {
  /** This child may have pieces for this run. */
  onMet(child: Parent): void
  /** It could not be asked for, and no scheduler is to blame. */
  onBroken(error: unknown): void
}

/**
 * Children that are parents too. A scheduler that allows no circles names a peer only those who came before it: the first have the seed alone, and what the last could
 * upload is wanted by nobody. So a child says who it is where it asks for pieces, and is asked for pieces in return. Its word is not enough: the scheduler has to know
 * it, so a run takes bytes of nobody whom it might not have been named as a parent. And it must not decide what the content is: a run meets nobody before it knows which
 * version it wants, and children of content without versions are never met.
 */
export class Meetings {
  readonly #world: MeetingsWorld
  readonly #events: MeetingsEvents
  readonly #signal: AbortSignal
  /** Children that the scheduler is asked about. */
  readonly #asking = new Set<string>()
  /** Children that came before the version was known. */
  readonly #early = new Set<string>()
  #questions = 0

  constructor(world: MeetingsWorld, events: MeetingsEvents, signal: AbortSignal) {
    this.#world = world
    this.#events = events
    this.#signal = signal
  }

  /** A child of this peer id asks for pieces. Nothing happens when it is known as a parent, or there are enough. */
  meet(peerId: string): void {
    const { spec, cut, parents } = this.#world
    if (this.#signal.aborted || this.#asking.has(peerId)) return
    // Of one piece nothing is left to take when a part can be given; and schedulers are asked about peers of this kind only.
    if (spec.kind !== 'standard' || cut.pieceCount < 2) return
    if (this.#world.version() === undefined) {
      if (this.#early.size < companyMax) this.#early.add(peerId)
      return
    }
    if (parents.state(peerId) !== undefined) return
    if (parents.company + this.#asking.size >= companyMax) return
    if (this.#questions >= questionsMax) return
    this.#questions++
    this.#asking.add(peerId)
    void this.#ask(peerId)
  }

  /** The version is known now. */
  onVersion(): void {
    for (const peerId of this.#early) this.meet(peerId)
    this.#early.clear()
  }

  async #ask(peerId: string): Promise<void> {
    const { announcer, parents, spec } = this.#world
    try {
      const child = await announcer.find(spec, peerId, this.#signal)
      if (child === undefined || this.#signal.aborted || parents.hasHost(child.hostId)) return
      this.#events.onMet(child)
    } catch (error) {
      // A scheduler that cannot tell now may do so when the child opens its next feed.
      const silent = PeerError.is(error, 'SCHEDULER_UNAVAILABLE', 'SCHEDULER_REFUSED', 'CLOSED')
      if (!silent && !this.#signal.aborted) this.#events.onBroken(error)
    } finally {
      this.#asking.delete(peerId)
    }
  }
}

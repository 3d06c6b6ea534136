import { type Deferred, deferred } from '../util/deferred.ts'
import { abortable } from '../util/scope.ts'
import { HttpFault } from './http-fault.ts'

/** Most origins (scheme, host, port) that are asked, waited for or connected to at once: what redirects lead to is the origins' choice. */
export const originsMax = 1024

interface Lane {
  /** Requests on their way, requests that wait, and connections: without any the origin is forgotten. */
  holders: number
  /** Requests on their way. */
  taken: number
  /** In the order in which they came. As many as the caller has: each is a read of somebody. */
  readonly waiting: Set<Deferred<void>>
}

/** Lets so many requests go to each origin at once, in the order in which they came, and counts the origins. */
export class OriginLanes {
  readonly #perOrigin: number
  readonly #lanes = new Map<string, Lane>()

  constructor(perOrigin: number) {
    this.#perOrigin = perOrigin
  }

  /**
   * Waits for a place. Call what it gives when the request is over, once.
   *
   * @throws HttpFault ORIGINS_MAX; `signal.reason`
   */
  async enter(origin: string, signal: AbortSignal): Promise<() => void> {
    const release = this.hold(origin)
    const lane = this.#lanes.get(origin) as Lane
    try {
      if (lane.taken < this.#perOrigin) lane.taken++
      else await turn(lane, signal)
    } catch (error) {
      release()
      throw error
    }
    return () => {
      next(lane)
      release()
    }
  }

  /** Keeps an origin counted until the function that it gives is called, once. @throws HttpFault ORIGINS_MAX */
  hold(origin: string): () => void {
    let lane = this.#lanes.get(origin)
    if (lane === undefined) {
      if (this.#lanes.size >= originsMax) throw new HttpFault('ORIGINS_MAX')
      lane = { holders: 0, taken: 0, waiting: new Set() }
      this.#lanes.set(origin, lane)
    }
    const held = lane
    held.holders++
    return () => {
      held.holders--
      if (held.holders === 0) this.#lanes.delete(origin)
    }
  }
}

async function turn(lane: Lane, signal: AbortSignal): Promise<void> {
  const mine = deferred<void>()
  lane.waiting.add(mine)
  try {
    await abortable(mine.promise, signal)
  } catch (error) {
    // It may have come to its turn meanwhile; then the next one has it.
    if (!lane.waiting.delete(mine)) next(lane)
    throw error
  }
}

/** Hands a place on, or frees it. */
function next(lane: Lane): void {
  const [first] = lane.waiting
  if (first === undefined) {
    lane.taken--
    return
  }
  lane.waiting.delete(first)
  first.resolve()
}

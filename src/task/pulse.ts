import { PeerError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import { Scope } from '../util/scope.ts'
import type { Feed, Parent, TaskSpec } from './ports.ts'

/** How long a parent that sends nothing may take to say that it is there, in milliseconds. One that lives answers in a round trip. */
export const pulseMs = 500
/** How long its word holds, in milliseconds; each further one holds twice as long: who is only slow is not asked all the time. */
export const lifeMs = 2000
/** Longest time that a word holds, in milliseconds. */
export const lifeMsMax = 8000

/** What a pulse is felt with. */
export interface PulseWorld {
  readonly spec: TaskSpec
  readonly feed: Feed
  readonly clock: Clock
  /** Token of the version that is wanted, as far as it is known now. */
  readonly version: () => string | undefined
}

interface Entry {
  is: 'asked' | 'alive' | 'dead'
  /** Until when what is known holds. */
  untilMs: number
  lifeMs: number
  cancel: () => void
}

/** Why a question ends. Both never leave this file. */
const heard = new Error('The parent is there')
const mute = new Error('The parent does not answer')

/**
 * Whether a parent that sends nothing is still there. Who is busy sends nothing for long, and must not be left for that; who is gone, or stands still, does not
 * answer to anything. So it is asked whether it still has the piece: a parent says that at once, whatever stands in the queue of its uploads.
 */
export class Pulse {
  readonly #world: PulseWorld
  readonly #onChange: () => void
  readonly #signal: AbortSignal
  /** By parent: as many as a run knows. */
  readonly #entries = new Map<string, Entry>()
  readonly #running = new Set<Promise<void>>()

  /** @param onChange - `isDead` may say something else now */
  constructor(world: PulseWorld, onChange: () => void, signal: AbortSignal) {
    this.#world = world
    this.#onChange = onChange
    this.#signal = signal
  }

  /** True when the parent was asked just now and did not answer. If it was not asked it is, and `onChange` follows. */
  isDead(parent: Parent, number: number): boolean {
    const now = this.#world.clock.now()
    const known = this.#entries.get(parent.id)
    if (known !== undefined && (known.is === 'asked' || now < known.untilMs)) {
      return known.is === 'dead'
    }
    if (this.#signal.aborted) return false
    const again = known?.is === 'alive' && now - known.untilMs < lifeMsMax
    const next = again ? Math.min(known.lifeMs * 2, lifeMsMax) : lifeMs
    const entry: Entry = { is: 'asked', untilMs: 0, lifeMs: next, cancel: () => undefined }
    this.#entries.set(parent.id, entry)
    const running = this.#ask(parent, number, entry)
    this.#running.add(running)
    void running.then(() => this.#running.delete(running))
    return false
  }

  /** Asks nobody any more; the signal has been fired before. Resolves when every question has ended. */
  async close(): Promise<void> {
    for (const entry of this.#entries.values()) entry.cancel()
    await Promise.all(this.#running)
  }

  async #ask(parent: Parent, number: number, entry: Entry): Promise<void> {
    const { spec, feed, clock } = this.#world
    const version = this.#world.version()
    const limit = { timeoutMs: pulseMs, onTimeout: () => mute, clock }
    using scope = new Scope([this.#signal], limit)
    const request = { spec, numbers: [number], ...(version === undefined ? {} : { version }) }
    let is: 'alive' | 'dead' = 'alive'
    try {
      await feed.watch(parent, request, () => scope.abort(heard), scope.signal)
      scope.signal.throwIfAborted()
    } catch (error) {
      // Any other answer is one: what else may be wrong with this parent its pieces and its own feed show.
      const gone = PeerError.is(error, 'PARENT_UNREACHABLE', 'TASK_NOT_FOUND')
      if (scope.signal.reason !== heard && (error === mute || gone)) is = 'dead'
    }
    if (this.#signal.aborted) return
    entry.is = is
    entry.untilMs = clock.now() + entry.lifeMs
    // Whoever is quiet still is then asked again.
    if (is === 'alive') entry.cancel = clock.after(entry.lifeMs, () => this.#onChange())
    else this.#onChange()
  }
}

import type { Clock } from '../util/clock.ts'
import type { Parent } from './ports.ts'

/** How often it is looked from whom nothing came, in milliseconds. */
export const beatMs: number = 500
/** Who gave no sign of life for so many beats is asked for one. */
export const askedBeats: number = 3
/** Who gave none for so many beats is dead: there were 2 s to answer. */
export const deadBeats: number = 7

/** A beat that comes so many milliseconds after the one before is late: this process stood still. */
const lateMs = 1500

/** What a pulse works with. `T`: of whom something can be due. */
export interface PulseWorld<T> {
  readonly clock: Clock
  /** Resolves on an answer, and rejects when nobody can be reached; a late answer counts too. Undefined where nobody can be asked. */
  readonly ping: ((asked: T) => Promise<void>) | undefined
  /** Those from whom something is due. Empty when nothing would be better without them. */
  readonly awaited: () => readonly T[]
}

interface Entry {
  /** Since the last sign of life, as far as something was due. */
  beats: number
  /** A ping is under way. */
  asked: boolean
}

/**
 * Whether those who send nothing are still there: parents, or whoever owes an answer. Who is busy sends nothing for long, and must not be left for that; who stands still, or is gone, answers to nothing
 * at all. A ping, see `Channel`, is answered below everything that can be busy, so who is dead sends neither a byte nor a word nor that answer.
 *
 * Time is counted in beats, because a process that stood still itself has heard nobody: however long that was it is one beat at most, and between two beats the event
 * loop has read what had come. After a beat that is late everybody has as long to answer as if just asked.
 */
export class Pulse<T extends { readonly id: string } = Parent> {
  readonly #world: PulseWorld<T>
  readonly #onDead: (dead: T, silentMs: number) => void
  readonly #signal: AbortSignal
  /** By id: as many as are awaited. */
  readonly #entries = new Map<string, Entry>()
  #beatAt = 0
  #cancel: (() => void) | undefined

  /** @param onDead - this one is to be given up, and was silent for so long. @param signal - nothing is looked at any more when it has fired */
  constructor(
    world: PulseWorld<T>,
    onDead: (dead: T, silentMs: number) => void,
    signal: AbortSignal,
  ) {
    this.#world = world
    this.#onDead = onDead
    this.#signal = signal
    signal.addEventListener('abort', () => this.#cancel?.(), { once: true })
  }

  /** Looks from now on, as long as anything is due. */
  look(): void {
    if (this.#cancel !== undefined || this.#signal.aborted) return
    if (this.#world.ping === undefined || this.#world.awaited().length === 0) return
    this.#arm()
  }

  /** A byte or a word of this one came. */
  onLife(id: string): void {
    const entry = this.#entries.get(id)
    if (entry !== undefined) entry.beats = 0
  }

  #arm(): void {
    const { clock } = this.#world
    this.#beatAt = clock.now()
    this.#cancel = clock.after(beatMs, () => this.#beat())
  }

  #beat(): void {
    this.#cancel = undefined
    const late = this.#world.clock.now() - this.#beatAt >= lateMs
    const awaited = this.#world.awaited()
    const ids = new Set(awaited.map(({ id }) => id))
    for (const [id, entry] of this.#entries) {
      if (late) entry.beats = Math.min(entry.beats, askedBeats)
      // Of whom nothing is due that is no silence, unless an answer is.
      if (!ids.has(id) && !entry.asked) this.#entries.delete(id)
    }
    if (awaited.length === 0) return
    this.#arm()
    if (!late) for (const each of awaited) this.#count(each)
  }

  #count(awaited: T): void {
    const entry = this.#entries.get(awaited.id) ?? { beats: 0, asked: false }
    this.#entries.set(awaited.id, entry)
    entry.beats++
    if (entry.beats >= deadBeats) {
      this.#entries.delete(awaited.id)
      this.#onDead(awaited, deadBeats * beatMs)
    } else if (entry.beats >= askedBeats && !entry.asked) {
      void this.#ask(awaited, entry)
    }
  }

  async #ask(awaited: T, entry: Entry): Promise<void> {
    entry.asked = true
    try {
      await this.#world.ping?.(awaited)
      entry.beats = 0
    } catch {
      // Whoever cannot be reached has given no sign of life: that is all there is to know.
    } finally {
      entry.asked = false
    }
  }
}

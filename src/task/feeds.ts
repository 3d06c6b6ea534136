import { PeerError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import { Scope } from '../util/scope.ts'
import { type Geometry, pieceAt } from './piece.ts'
import type { Feed, Have, Parent, TaskSpec } from './ports.ts'

/** Failures in a row, without a word that was news, after which a parent's feed is not opened again by itself. */
export const feedFailuresMax: number = 3
/** Pause before a feed is opened again, in milliseconds; doubles with each failure in a row. */
export const feedPauseMs: number = 500
/** Feeds open to one parent at once. More are needed when more pieces are wanted later; beyond this one feed replaces all. */
export const feedsPerParentMax: number = 4
/** A feed that tells more than this many pieces for each one asked, plus a thousand, is cut off. */
const tellsPerPieceMax = 4

/** What the feeds need. */
export interface FeedsWorld {
  readonly spec: TaskSpec
  readonly cut: Geometry
  readonly feed: Feed
  readonly clock: Clock
  /** Token of the version that is wanted, as far as it is known now. */
  readonly version: () => string | undefined
  /** Own peer id. */
  readonly peerId: () => string | undefined
}

/** What the feeds ask and tell. */
export interface FeedsEvents {
  /** Missing pieces that this parent has not told, or refused. */
  missing(parent: string): readonly number[]
  /** Why nothing of this parent can be taken: it holds another version. Undefined when nothing speaks against it. `fits`: the piece lies where it lies here. */
  onTold(parent: string, have: Have, fits: boolean): PeerError | undefined
  /** The parent has this piece. True when that is news. */
  onHave(parent: string, have: Have): boolean
  /** A feed failed. `startedAt` is when it was opened. */
  onFailed(parent: string, error: unknown, startedAt: number): void
  /** Anything else changed: a feed ended, or rests. */
  onChange(): void
}

interface Entry {
  readonly parent: Parent
  /** Ends all open feeds of this parent. */
  scope: Scope
  open: number
  failures: number
  /** Takes back the timer of the next try. */
  cancelRest: (() => void) | undefined
}

/** What all live parents have, as they tell it: opens their feeds, checks each word, and opens feeds again that broke. */
export class Feeds {
  readonly #world: FeedsWorld
  readonly #events: FeedsEvents
  readonly #signal: AbortSignal
  readonly #entries = new Map<string, Entry>()
  readonly #running = new Set<Promise<void>>()

  constructor(world: FeedsWorld, events: FeedsEvents, signal: AbortSignal) {
    this.#world = world
    this.#events = events
    this.#signal = signal
  }

  /** Starts to watch a parent, or watches it anew when its feeds have ended. */
  watch(parent: Parent): void {
    const known = this.#entries.get(parent.id)
    if (known !== undefined && (known.open > 0 || known.cancelRest !== undefined)) return
    const entry = known ?? this.#entry(parent)
    entry.failures = 0
    this.#open(entry, this.#events.missing(parent.id))
  }

  /** More pieces are wanted: every parent that is watched, or has told all, is asked for them too. */
  more(numbers: readonly number[]): void {
    for (const entry of this.#entries.values()) {
      // A feed that rests asks for everything when it is opened again.
      if (entry.cancelRest !== undefined) continue
      if (entry.open < feedsPerParentMax) {
        this.#open(entry, numbers)
        continue
      }
      closeAll(entry)
      entry.scope = new Scope([this.#signal])
      entry.open = 0
      this.#open(entry, this.#events.missing(entry.parent.id))
    }
  }

  /** Stops watching a parent for good. */
  drop(parent: string): void {
    const entry = this.#entries.get(parent)
    if (entry === undefined) return
    this.#entries.delete(parent)
    closeAll(entry)
  }

  /** Whether this parent may tell more: a feed is open or will be opened again. */
  mayTell(parent: string): boolean {
    const entry = this.#entries.get(parent)
    return entry !== undefined && (entry.open > 0 || entry.cancelRest !== undefined)
  }

  /** How the feed of a parent stands, for `explain()`. */
  state(parent: string): 'open' | 'resting' | 'ended' {
    const entry = this.#entries.get(parent)
    if (entry?.cancelRest !== undefined) return 'resting'
    return entry !== undefined && entry.open > 0 ? 'open' : 'ended'
  }

  /** Stops all. Resolves when every feed has let go. */
  async close(): Promise<void> {
    for (const entry of this.#entries.values()) closeAll(entry)
    this.#entries.clear()
    await Promise.all(this.#running)
  }

  #entry(parent: Parent): Entry {
    const scope = new Scope([this.#signal])
    const entry: Entry = { parent, scope, open: 0, failures: 0, cancelRest: undefined }
    this.#entries.set(parent.id, entry)
    return entry
  }

  #open(entry: Entry, numbers: readonly number[]): void {
    if (numbers.length === 0 || this.#signal.aborted) return
    entry.open++
    const running = this.#watch(entry, numbers, entry.scope)
    this.#running.add(running)
    void running.then(() => this.#running.delete(running))
  }

  async #watch(entry: Entry, numbers: readonly number[], scope: Scope): Promise<void> {
    const { spec, feed, clock } = this.#world
    const [version, peerId] = [this.#world.version(), this.#world.peerId()]
    const { parent } = entry
    const startedAt = clock.now()
    const own = new Scope([scope.signal])
    let tellsLeft = numbers.length * tellsPerPieceMax + 1000
    const onHave = (have: Have): void => {
      if (own.signal.aborted) return
      const wrong = tellsLeft-- > 0 ? this.#wrong(parent.id, have) : tooMany(parent.id)
      if (wrong !== undefined) own.abort(wrong)
      else if (this.#events.onHave(parent.id, have)) entry.failures = 0
    }
    try {
      const request = {
        spec,
        numbers,
        ...(version === undefined ? {} : { version }),
        ...(peerId === undefined ? {} : { peerId }),
      }
      await feed.watch(parent, request, onHave, own.signal)
      own.signal.throwIfAborted()
      if (scope.signal.aborted) return
      entry.open--
      this.#events.onChange()
    } catch (error) {
      if (scope.signal.aborted) return
      entry.open--
      this.#fail(entry, own.signal.aborted ? own.signal.reason : error, startedAt)
    } finally {
      own[Symbol.dispose]()
    }
  }

  /** The run is told first: it may drop the parent. If it does not, the feed is opened again after a pause, unless it failed too often. */
  #fail(entry: Entry, error: unknown, startedAt: number): void {
    const { id } = entry.parent
    entry.failures++
    this.#events.onFailed(id, error, startedAt)
    if (this.#entries.get(id) !== entry) return
    if (entry.failures < feedFailuresMax && entry.cancelRest === undefined) {
      const delayMs = feedPauseMs * 2 ** (entry.failures - 1)
      entry.cancelRest = this.#world.clock.after(delayMs, () => {
        entry.cancelRest = undefined
        this.#open(entry, this.#events.missing(id))
        this.#events.onChange()
      })
    }
    this.#events.onChange()
  }

  /** Why nothing more is heard from this parent. One that names its version and has another cut is no liar: its content is another. */
  #wrong(parent: string, have: Have): PeerError | undefined {
    const fault = this.#fault(have)
    const other = this.#events.onTold(parent, have, fault === undefined)
    if (other !== undefined || fault === undefined) return other
    return badWord(parent, have, fault, this.#world.cut)
  }

  /** What is wrong with a word; undefined when nothing is. Our cut is the measure. */
  #fault(have: Have): string | undefined {
    const { cut } = this.#world
    if (!Number.isInteger(have.number) || have.number < 0 || have.number >= cut.pieceCount) {
      return 'piece number'
    }
    const piece = pieceAt(cut, have.number)
    if (have.offset !== piece.offset) return 'piece offset'
    return have.length === piece.length ? undefined : 'piece length'
  }
}

/** Why a feed's signal fires when nobody is to blame. It never leaves this file. */
const closed = new Error('The feed is not needed any more')

function closeAll(entry: Entry): void {
  entry.cancelRest?.()
  entry.cancelRest = undefined
  entry.scope.abort(closed)
}

function tooMany(parent: string): PeerError<'PARENT_PROTOCOL'> {
  const what = 'number of answers'
  const details = { parent, what, expected: 'one for each piece', actual: 'many times that' }
  return new PeerError('PARENT_PROTOCOL', `Parent ${parent} told a wrong ${what}`, details)
}

function badWord(
  parent: string,
  have: Have,
  what: string,
  cut: Geometry,
): PeerError<'PARENT_PROTOCOL'> {
  const inside = Number.isInteger(have.number) && have.number >= 0 && have.number < cut.pieceCount
  const piece = inside ? pieceAt(cut, have.number) : undefined
  const expected =
    piece === undefined ? `below ${cut.pieceCount}` : `${piece.offset}+${piece.length}`
  return new PeerError('PARENT_PROTOCOL', `Parent ${parent} told a wrong ${what}`, {
    parent,
    what,
    expected,
    actual: `piece ${have.number}, ${have.offset}+${have.length}`,
  })
}

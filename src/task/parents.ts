import type { ErrorCode } from '../errors.ts'
import { type Blame, type Failure, Standing, type StandingState } from './blame.ts'
import type { Parent, ParentAddress, PieceEndpoint } from './ports.ts'

/** Most parents that one run knows, named and met. What the scheduler names beyond that is left out. */
export const parentsMax: number = 128

/** What a download knows of one parent, as plain data. */
export interface ParentFacts {
  readonly parent: Parent
  /** The scheduler named it; else it is a child that was met. */
  readonly named: boolean
  /** Where it serves pieces, once it has told. */
  readonly endpoint: PieceEndpoint | undefined
  readonly state: StandingState
  readonly pieces: number
  readonly bytes: number
  readonly failures: number
  readonly lastCode: ErrorCode | undefined
}

interface Entry {
  readonly parent: Parent
  /** The scheduler named it as a parent. Else it is a child of ours, which may have nothing but what it has from here: no hope rests on it. */
  named: boolean
  readonly standing: Standing
  endpoint: PieceEndpoint | undefined
  pieces: number
  bytes: number
}

/** What `add` did. `new`, `revived`: to be watched from its beginning. `known`: may be watched again. `refused`: banned, nameless, or one too many. */
export type Added = 'new' | 'revived' | 'known' | 'refused'

/** The parents of one download: where they are, what they gave, and how they stand. */
export class Parents {
  readonly #entries = new Map<string, Entry>()

  /** How many are usable, named or met. */
  get company(): number {
    return this.#where(({ standing }) => standing.usable).length
  }

  /** The scheduler named this parent, or it is a child that was met. */
  add(parent: Parent, how: 'named' | 'met'): Added {
    const entry = this.#entries.get(parent.id)
    if (entry !== undefined) {
      if (how === 'named') entry.named = true
      if (entry.standing.revive()) return 'revived'
      return entry.standing.usable ? 'known' : 'refused'
    }
    if (parent.id === '' || this.#entries.size >= parentsMax) return 'refused'
    this.#entries.set(parent.id, {
      parent,
      named: how === 'named',
      standing: new Standing(),
      endpoint: undefined,
      pieces: 0,
      bytes: 0,
    })
    return 'new'
  }

  /** Everybody the scheduler ever named, for a reschedule. */
  all(): Parent[] {
    return this.#where(({ named }) => named)
  }

  /** Those of them who are neither dropped nor banned. */
  usable(): Parent[] {
    return this.#where(({ named, standing }) => named && standing.usable)
  }

  /** Those of them who are dropped or banned. */
  unusable(): Parent[] {
    return this.#where(({ named, standing }) => named && !standing.usable)
  }

  /** Ids of those of them who pause now and are expected to deliver after that. */
  resting(): string[] {
    return this.#where(
      ({ named, standing: { state } }) => named && state.is === 'paused' && state.hopeful,
    ).map(({ id }) => id)
  }

  /** How the parent stands; undefined when it is not known. */
  state(id: string): StandingState | undefined {
    return this.#entries.get(id)?.standing.state
  }

  /** Whether it is a child that was met and not named. */
  isMet(id: string): boolean {
    return this.#entries.get(id)?.named === false
  }

  /** Whether somebody of this host is usable, named or met. */
  hasHost(hostId: string): boolean {
    return this.#where(({ standing }) => standing.usable).some((known) => known.hostId === hostId)
  }

  /** Parent and place to read from; undefined before it told where it serves. */
  address(id: string): ParentAddress | undefined {
    const entry = this.#entries.get(id)
    if (entry?.endpoint === undefined) return undefined
    return { parent: entry.parent, endpoint: entry.endpoint }
  }

  /** It told where it serves pieces. The newest word counts. */
  onEndpoint(id: string, endpoint: PieceEndpoint): void {
    const entry = this.#entries.get(id)
    if (entry !== undefined) entry.endpoint = endpoint
  }

  /** It gave a piece. */
  onDone(id: string, length: number): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    entry.pieces++
    entry.bytes += length
    entry.standing.onSuccess()
  }

  /** It failed. See `Standing.onFailure`. Of a child that was met nobody has to be patient: its silence counts like any failure. */
  onFailure(id: string, failure: Failure, now: number): Blame {
    const entry = this.#entries.get(id)
    if (entry === undefined) return 'refuse'
    const { code, startedAt } = failure
    return entry.standing.onFailure(entry.named ? failure : { code, startedAt }, now)
  }

  /** Those whose pause has ended by now; each is named once. */
  thaw(now: number): string[] {
    const ids: string[] = []
    for (const [id, entry] of this.#entries) if (entry.standing.thaw(now)) ids.push(id)
    return ids
  }

  /** When the next pause ends; undefined when nobody is paused. */
  thawAt(): number | undefined {
    let at: number | undefined
    for (const { standing } of this.#entries.values()) {
      if (standing.state.is !== 'paused') continue
      at = Math.min(at ?? Number.POSITIVE_INFINITY, standing.state.untilMs)
    }
    return at
  }

  /** All that is known. */
  facts(): ParentFacts[] {
    return Array.from(this.#entries.values(), ({ standing, ...facts }) => ({
      ...facts,
      state: standing.state,
      failures: standing.failures,
      lastCode: standing.lastCode,
    }))
  }

  #where(is: (entry: Entry) => boolean): Parent[] {
    return [...this.#entries.values()].filter(is).map(({ parent }) => parent)
  }
}

import type { TaskKind } from '../../task/kind.ts'
import { type Geometry, geometry, pieceCountMax, type Range } from '../../task/piece.ts'
import { Coverage } from './coverage.ts'
import type { HostRecord } from './host-record.ts'
import type { PeerStateName, Ranked } from './rank.ts'
import { SparseMap, SparseSet } from './sparse.ts'
import type { TaskLabels } from './task-labels.ts'

/** Where a task stands. For persistent cache tasks `Running` is told as `Uploading`. */
export type TaskState = 'Pending' | 'Running' | 'Succeeded' | 'Failed'

/** What an importer asked for. */
export interface CacheWish {
  readonly replicas: number
  readonly ttlMs: number
  /** Of this scheduler's clock. */
  readonly expiresMs: number
}

/** A seed that was asked to fetch a task and has not registered yet. */
export interface Trigger {
  readonly untilMs: number
  /** The peer for which it was asked. It waits for this seed, as do all who want no more. */
  readonly asker: PeerRecord
}

/** Seeds that failed for one task and are remembered, at most. */
export const seedBansMax = 64

/** One task and who takes part in it. `Registry` changes it, everybody else looks. */
export class TaskRecord {
  readonly id: string
  readonly kind: TaskKind
  readonly peers: Map<string, PeerRecord> = new Map()
  /** By host id. */
  readonly triggers: SparseMap<string, Trigger> = new SparseMap()
  labels: TaskLabels = { filteredQueryParams: [] }
  state: TaskState = 'Pending'
  /** The newest that was told; undefined while nobody knows. */
  geometry: Geometry | undefined
  cache: CacheWish | undefined
  /** Wall-clock milliseconds. */
  readonly createdAt: number
  updatedAt: number
  /** Since when it has no peers. */
  idleMs: number
  readonly #seedBans = new SparseMap<string, number>()

  constructor(id: string, kind: TaskKind, now: { readonly ms: number; readonly date: number }) {
    this.id = id
    this.kind = kind
    this.idleMs = now.ms
    this.createdAt = now.date
    this.updatedAt = now.date
  }

  /** What is told counts for whoever comes later. Senseless figures are ignored. */
  learn(cut: Geometry | undefined): void {
    if (cut === undefined || cut.pieceCount > pieceCountMax) return
    this.geometry = cut.contentLength === 0 ? geometry(0, cut.pieceLength) : cut
  }

  /**
   * How the content is cut, for whoever asks: as was told last while somebody has it so or may get it from the origin, else as the last have it who got what they wanted. Who told
   * it may be gone, and then nobody could ever deliver it.
   */
  get obtainable(): Geometry | undefined {
    let whole: PeerRecord | undefined
    for (const peer of this.peers.values()) {
      const { is } = peer.state
      if (peer.geometry === undefined || is === 'Failed' || is === 'Leave') continue
      const may = is === 'Succeeded' || peer.pieces !== undefined || !peer.wish.never
      if (may && peer.geometry.contentLength === this.geometry?.contentLength) return this.geometry
      if (is === 'Succeeded') whole = peer
    }
    return whole?.geometry ?? this.geometry
  }

  /** This seed failed for this task: another one is asked, for a while. */
  banSeed(hostId: string, untilMs: number): void {
    this.triggers.delete(hostId)
    this.#seedBans.delete(hostId)
    this.#seedBans.set(hostId, untilMs)
    const [oldest] = this.#seedBans.keys()
    if (this.#seedBans.size > seedBansMax && oldest !== undefined) this.#seedBans.delete(oldest)
  }

  /** Whether this seed shall not be asked now. */
  bansSeed(hostId: string, nowMs: number): boolean {
    return nowMs < (this.#seedBans.get(hostId) ?? 0)
  }

  /** Copies that there are: those that were asked for, and all. */
  get replicas(): { readonly persistent: number; readonly all: number } {
    let persistent = 0
    let all = 0
    for (const peer of this.peers.values()) {
      if (peer.state.is !== 'Succeeded' || peer.range !== undefined) continue
      all++
      if (peer.persistent) persistent++
    }
    return { persistent, all }
  }
}

/** Where a peer stands (controlplane 1.7 and 5.2). */
export type PeerState =
  | {
      readonly is: Exclude<
        PeerStateName,
        'ReceivedNormal' | 'Running' | 'BackToSource' | 'Succeeded' | 'Failed'
      >
    }
  | {
      readonly is: 'ReceivedNormal' | 'Running'
      /** Sent to the origin at this time, and has not said yet that it goes there. */
      readonly orderedMs?: number
    }
  | { readonly is: 'BackToSource' | 'Succeeded'; readonly sinceMs: number }
  | { readonly is: 'Failed'; readonly sinceMs: number; readonly reason: string }

/** A parent that could not deliver to one child. */
interface Ban {
  /** Set when it was said to have failed, and not only to lack something. */
  readonly failedHostId: string | undefined
  readonly untilMs: number
  /** How the parent stood then. Once it has more, or stands otherwise, it may be asked again. */
  readonly held: number
  readonly was: string
  readonly count: number
}

/** What a peer asked for. */
export interface PeerWish {
  readonly range?: Range
  readonly geometry?: Geometry
  /** It must not go to the origin. */
  readonly never: boolean
  /** It must go to the origin, without asking others. */
  readonly needBackToSource: boolean
  readonly priority: number
  readonly concurrency: number
}

/** Parents that one child has found wanting, at most; the oldest is forgotten. */
export const bansMax = 256

/** One download attempt of one task on one host. `Registry` changes it, everybody else looks. */
export class PeerRecord implements Ranked {
  readonly id: string
  readonly host: HostRecord
  readonly task: TaskRecord
  readonly wish: PeerWish
  /** Wall-clock milliseconds. */
  readonly createdAt: number
  readonly parents: SparseSet<PeerRecord> = new SparseSet()
  readonly children: SparseSet<PeerRecord> = new SparseSet()
  /** What its length is, once it knows. */
  geometry: Geometry | undefined
  pieces: Coverage | undefined
  depth = 0
  blames = 0
  /** One of the copies that an importer asked for. */
  persistent = false
  /** It wants nothing: it says that its host has the whole content. */
  holds = false
  #state: PeerState = { is: 'Pending' }
  readonly #bans = new SparseMap<string, Ban>()

  constructor(id: string, host: HostRecord, task: TaskRecord, wish: PeerWish, createdAt: number) {
    this.id = id
    this.host = host
    this.task = task
    this.wish = wish
    this.geometry = wish.geometry
    this.createdAt = createdAt
  }

  get state(): PeerState {
    return this.#state
  }

  get range(): Range | undefined {
    return this.wish.range
  }

  /** Whether it is over: it serves what it has, or nothing. */
  get isOver(): boolean {
    return this.#among('Succeeded', 'Failed', 'Leave')
  }

  /** When it was sent to the origin, if it has not said yet that it goes there. */
  get orderedMs(): number | undefined {
    return 'orderedMs' in this.#state ? this.#state.orderedMs : undefined
  }

  /** Its state, and whether it is on its way to the origin. */
  get standing(): string {
    return this.orderedMs === undefined ? this.#state.is : 'ordered'
  }

  /** Pending → ReceivedEmpty or ReceivedNormal. */
  received(is: 'ReceivedEmpty' | 'ReceivedNormal'): void {
    if (this.#among('Pending')) this.#state = { is }
  }

  /** Received or Running, and sent to the origin. */
  ordered(nowMs: number): void {
    const { is } = this.#state
    if (is === 'ReceivedNormal' || is === 'Running') this.#state = { is, orderedMs: nowMs }
  }

  /** Received → Running. A second one changes nothing. */
  started(): void {
    if (this.#among('ReceivedEmpty', 'ReceivedNormal', 'Running')) this.#state = { is: 'Running' }
  }

  /** Received, Running → BackToSource. */
  sourceStarted(nowMs: number): void {
    if (this.#among('ReceivedNormal', 'Running')) {
      this.#state = { is: 'BackToSource', sinceMs: nowMs }
    }
  }

  /** Pending → Uploading. */
  uploading(): void {
    if (this.#among('Pending')) this.#state = { is: 'Uploading' }
  }

  /** Received, Running, BackToSource, Uploading → Succeeded. */
  succeeded(nowMs: number): void {
    if (this.#among('ReceivedEmpty', 'ReceivedNormal', 'Running', 'BackToSource', 'Uploading')) {
      this.#state = { is: 'Succeeded', sinceMs: nowMs }
    }
  }

  /** Whatever is not over → Failed. */
  failed(nowMs: number, reason: string): void {
    if (!this.isOver) this.#state = { is: 'Failed', sinceMs: nowMs, reason }
  }

  /** any → Leave. */
  left(): void {
    this.#state = { is: 'Leave' }
  }

  /** It has this piece. */
  has(number: number): void {
    if (this.geometry === undefined) return
    this.pieces ??= new Coverage(this.geometry.pieceCount)
    this.pieces.add(number)
  }

  /**
   * This parent could not deliver: it is not offered again for a while, or until it has more.
   *
   * @param failed - it is at fault itself: see `failedBy()`. @defaultValue false
   */
  ban(parent: PeerRecord, nowMs: number, banMs: number, failed: boolean = false): void {
    const before = this.#bans.get(parent.id)
    const count = (before?.count ?? 0) + 1
    const known = before !== undefined && nowMs < before.untilMs ? before.failedHostId : undefined
    // 64 times the first pause is enough for ever.
    const untilMs = nowMs + banMs * 2 ** Math.min(count - 1, 6)
    this.#bans.delete(parent.id)
    this.#bans.set(parent.id, {
      failedHostId: failed ? parent.host.id : known,
      untilMs,
      count,
      held: heldBy(parent),
      was: parent.standing,
    })
    const [oldest] = this.#bans.keys()
    if (this.#bans.size > bansMax && oldest !== undefined) this.#bans.delete(oldest)
  }

  /** Whether this parent shall not be offered now. */
  bans(parent: PeerRecord, nowMs: number): boolean {
    const ban = this.#bans.get(parent.id)
    if (ban === undefined || nowMs >= ban.untilMs) return false
    return parent.standing === ban.was && heldBy(parent) <= ban.held
  }

  /** Whether a parent on this host failed this child a short while ago. */
  failedBy(hostId: string, nowMs: number): boolean {
    for (const { failedHostId, untilMs } of this.#bans.values()) {
      if (failedHostId === hostId && nowMs < untilMs) return true
    }
    return false
  }

  /** When the next ban ends; undefined when there is none. */
  nextBanEndMs(nowMs: number): number | undefined {
    const ends = [...this.#bans.values()].map(({ untilMs }) => untilMs)
    const ahead = ends.filter((untilMs) => untilMs > nowMs)
    return ahead.length === 0 ? undefined : Math.min(...ahead)
  }

  #among(...names: readonly PeerStateName[]): boolean {
    return names.includes(this.#state.is)
  }
}

function heldBy({ pieces }: PeerRecord): number {
  return pieces?.held ?? 0
}

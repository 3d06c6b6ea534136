import type { Download } from '../../rpc/gen/common/v2/common_pb.ts'
import type { Clock } from '../../util/clock.ts'
import type { HostRecord } from './host-record.ts'
import type { SchedulerLimits } from './limits.ts'
import { fedPeers, isServed, type Ranked, type RankRules } from './rank.ts'
import type { Registry } from './registry.ts'
import { decide, type Verdict } from './verdict.ts'
import type { PeerRecord, TaskRecord } from './records.ts'

/** Children that are decided about in one turn of the event loop; with a thousand peers of one task each costs a third of a millisecond. */
const turnMax = 64

/** Parents that a child is known to have when it asked for more, at most; the oldest are forgotten here. */
const parentsKeptMax = 12

/** How long pieces are collected before waiting children are looked at, in milliseconds. */
const nudgeMs = 50

/** How seeds are asked; `Seeds` does it. */
export interface SeedCaller {
  /** A seed that could be asked for this child now. */
  find(child: PeerRecord): HostRecord | undefined
  /** Starts the call. What comes of it is told to `onSeedEnded`. */
  call(host: HostRecord, task: TaskRecord, download: Download): void
}

/** What the dispatcher works with. */
export interface DispatcherParts {
  readonly clock: Clock
  readonly limits: SchedulerLimits
  readonly random: () => number
  readonly registry: Registry
  readonly seeds: SeedCaller
}

/** A child that wants parents. */
interface Waiter {
  readonly child: PeerRecord
  readonly sinceMs: number
  /** As it came, for a seed. Secret. */
  readonly download: Download | undefined
  /** It keeps the parents that it has, and wants others beside them. */
  readonly more: boolean
  readonly tell: (verdict: Verdict) => void
  release: () => void
}

/**
 * Who waits for an answer, and when it is given: in the same turn in which it becomes possible.
 *
 * Whoever changes a fact in the registry calls `advance(task)` after it. That is the one place where children are told something, in the order in
 * which they asked.
 */
export class Dispatcher {
  readonly #parts: DispatcherParts
  readonly #rules: RankRules
  /** One timer each. */
  readonly #nudged = new Set<TaskRecord>()
  readonly #waiters = new Map<TaskRecord, Map<PeerRecord, Waiter>>()

  constructor(parts: DispatcherParts) {
    this.#parts = parts
    const { limits, random } = parts
    this.#rules = {
      parentsMax: limits.candidateParentsMax,
      childrenSoftMax: limits.childrenSoftMax,
      blamesMax: limits.blamesMax,
      random,
    }
  }

  /**
   * The child wants parents, or the word to go to the origin. `tell` is called once, at once if possible; not after `forget`.
   *
   * @param more - it keeps the parents that it has, and wants others beside them. @defaultValue false
   */
  ask(
    child: PeerRecord,
    download: Download | undefined,
    tell: Waiter['tell'],
    more: boolean = false,
  ): void {
    const sinceMs = this.#parts.clock.now()
    this.forget(child)
    const waiters = this.#waiters.get(child.task) ?? new Map<PeerRecord, Waiter>()
    this.#waiters.set(child.task, waiters)
    const waiter: Waiter = { child, sinceMs, download, more, tell, release: () => undefined }
    waiters.set(child, waiter)
    // One more who wants something makes nothing possible for the others.
    this.#decide(waiter, new Set())
  }

  /** The child wants nothing any more. */
  forget(child: PeerRecord): void {
    const waiters = this.#waiters.get(child.task)
    waiters?.get(child)?.release()
    waiters?.delete(child)
    if (waiters?.size === 0) this.#waiters.delete(child.task)
  }

  /** Whether the child waits. */
  waits(child: PeerRecord): boolean {
    return this.#waiters.get(child.task)?.has(child) === true
  }

  /** Tells every waiting child of the task what can be told now. */
  advance(task: TaskRecord): void {
    this.#expireTriggers(task)
    this.#work(task, this.#waitersOf(task), false)
  }

  /** As `advance`, a little later, once for any number of calls: a piece here or there changes little. */
  nudge(task: TaskRecord): void {
    if (!this.#waiters.has(task) || this.#nudged.has(task)) return
    this.#nudged.add(task)
    this.#parts.clock.after(nudgeMs, () => {
      this.#nudged.delete(task)
      this.advance(task)
    })
  }

  /** The call to a seed is over. If it did not register meanwhile, or gave up, another one is asked. */
  onSeedEnded(task: TaskRecord, host: HostRecord): void {
    if (task.triggers.has(host.id)) this.seedFailed(task, host.id)
    this.advance(task)
  }

  /** This seed is not asked again for this task for a while. */
  seedFailed(task: TaskRecord, hostId: string): void {
    task.banSeed(hostId, this.#parts.clock.now() + this.#parts.limits.seedBanMs)
  }

  /** Tasks that somebody waits for. */
  get waitedFor(): IterableIterator<TaskRecord> {
    return this.#waiters.keys()
  }

  /** Who waits for what, as plain data. */
  explain(task: TaskRecord): unknown {
    return this.#waitersOf(task).map(({ child, sinceMs }) => ({
      peer: child.id,
      sinceMs,
    }))
  }

  /** Stops all timers. */
  close(): void {
    for (const waiters of this.#waiters.values()) {
      for (const waiter of waiters.values()) waiter.release()
    }
    this.#waiters.clear()
  }

  /** Decides about some now and about the rest in a later turn, then once more if that changed something: an answer can make another one possible. */
  #work(task: TaskRecord, waiters: readonly Waiter[], toldBefore: boolean): void {
    const now = waiters.slice(0, turnMax)
    const rest = waiters.slice(turnMax)
    const joining = this.#joining(now)
    let told = toldBefore
    for (const waiter of now) if (this.#decide(waiter, joining)) told = true
    if (rest.length > 0) this.#parts.clock.after(0, () => this.#work(task, rest, told))
    // Each round ends one wait at least, so this ends.
    else if (told) this.#work(task, this.#waitersOf(task), false)
  }

  /** As they are now: deciding takes them out. */
  #waitersOf(task: TaskRecord): readonly Waiter[] {
    return Array.from(this.#waiters.get(task)?.values() ?? [])
  }

  /** True when the wait is over. */
  #decide(waiter: Waiter, joining: ReadonlySet<PeerRecord>): boolean {
    const { child, sinceMs } = waiter
    if (this.#waiters.get(child.task)?.get(child) !== waiter) return false
    if (child.isOver) {
      this.forget(child)
      waiter.tell({ is: 'refused', code: 'not-found', reason: 'The peer has left' })
      return true
    }
    const { clock, limits, registry, seeds } = this.#parts
    const nowMs = clock.now()
    const findSeed = (asker: PeerRecord): HostRecord | undefined =>
      waiter.download === undefined || asker.task.triggers.size >= limits.taskTriggersMax
        ? undefined
        : seeds.find(asker)
    const { more } = waiter
    const around = { nowMs, limits, rules: this.#rules, sinceMs, joining, more, findSeed }
    const decision = decide(child, around)
    if (decision.is === 'seed') {
      this.#trigger(waiter, decision.host)
      return false
    }
    if (decision.is === 'wait') {
      this.#sleep(waiter, decision.untilMs)
      return false
    }
    this.forget(child)
    if (decision.is === 'parents') {
      const kept = more ? [...child.parents].slice(decision.parents.length - parentsKeptMax) : []
      registry.bind(child, [...new Set([...kept, ...decision.parents])])
    }
    if (decision.is === 'source') child.ordered(nowMs)
    waiter.tell(decision)
    return true
  }

  #trigger({ child, download }: Waiter, host: HostRecord): void {
    if (download === undefined) return
    const { clock, limits, seeds } = this.#parts
    const { task } = child
    task.triggers.set(host.id, { untilMs: clock.now() + limits.seedStartMs, asker: child })
    clock.after(limits.seedStartMs, () => this.advance(task))
    seeds.call(host, task, download)
  }

  #sleep(waiter: Waiter, untilMs: number | undefined): void {
    waiter.release()
    waiter.release = () => undefined
    if (untilMs === undefined) return
    const { clock } = this.#parts
    // At least one: a clock may be early by a fraction, and the same decision would be taken again and again.
    const delayMs = Math.max(1, Math.ceil(untilMs - clock.now()))
    waiter.release = clock.after(delayMs, () => this.advance(waiter.child.task))
  }

  /** Children of this package that can be told parents now: they may also get each other. */
  #joining(waiters: readonly Waiter[]): ReadonlySet<PeerRecord> {
    const nobody: ReadonlySet<PeerRecord> = new Set()
    // One child alone has nobody to join with.
    if (waiters.length < 2) return nobody
    const nowMs = this.#parts.clock.now()
    const own = waiters.map(({ child }) => child).filter(mayJoin)
    const [first] = own
    if (first === undefined) return nobody
    // The same for all of them: none has a way to the content of its own.
    const fed = fedPeers<Ranked>(first.task.peers.values(), first) as ReadonlySet<PeerRecord>
    return new Set(own.filter((child) => isServed(child, fed, (peer) => child.bans(peer, nowMs))))
  }

  #expireTriggers(task: TaskRecord): void {
    const nowMs = this.#parts.clock.now()
    for (const [hostId, { untilMs }] of task.triggers) {
      if (nowMs >= untilMs) this.seedFailed(task, hostId)
    }
  }
}

/** Wants the whole content, and has no parents: nobody gets anything through it now. */
function mayJoin({ host, isOver, parents, range, wish }: PeerRecord): boolean {
  const plain = range === undefined && parents.size === 0 && !wish.needBackToSource
  return host.own && plain && !isOver
}

import type { HostFacts } from '../../rpc/convert-host.ts'
import type { TaskKind } from '../../task/kind.ts'
import type { Clock } from '../../util/clock.ts'
import { HostRecord } from './host-record.ts'
import type { SchedulerLimits } from './limits.ts'
import { coversRange } from './rank.ts'
import { PeerRecord, type PeerWish, TaskRecord } from './records.ts'

/**
 * Hosts, tasks and peers: the one owner of the facts. It decides nothing and calls nobody; its methods are the arrows of controlplane 1.7, and
 * return the tasks for which something may be possible now that was not before.
 */
export class Registry {
  readonly #clock: Clock
  readonly #limits: SchedulerLimits
  readonly #hosts = new Map<string, HostRecord>()
  readonly #peersOf = new Map<HostRecord, Set<PeerRecord>>()
  readonly #tasks = new Map<string, TaskRecord>()
  /** In the order in which they failed. */
  readonly #failed = new Set<PeerRecord>()
  /** Without peers, in the order in which they became so. */
  readonly #idle = new Set<TaskRecord>()
  #peerCount = 0

  constructor(clock: Clock, limits: SchedulerLimits) {
    this.#clock = clock
    this.#limits = limits
  }

  get hosts(): IterableIterator<HostRecord> {
    return this.#hosts.values()
  }

  get tasks(): IterableIterator<TaskRecord> {
    return this.#tasks.values()
  }

  host(id: string): HostRecord | undefined {
    return this.#hosts.get(id)
  }

  /** The peers of a host, of all tasks. */
  peersOf(host: HostRecord): ReadonlySet<PeerRecord> {
    return this.#peersOf.get(host) ?? new Set()
  }

  task(id: string): TaskRecord | undefined {
    return this.#tasks.get(id)
  }

  peer(taskId: string, peerId: string): PeerRecord | undefined {
    return this.#tasks.get(taskId)?.peers.get(peerId)
  }

  /** Adds a host, or takes what it says now. Undefined when there are too many. */
  announceHost(facts: HostFacts, intervalMs: number | undefined): HostRecord | undefined {
    const nowMs = this.#clock.now()
    const known = this.#hosts.get(facts.id)
    if (known !== undefined) {
      known.facts = facts
      known.intervalMs = intervalMs
      known.heardMs = nowMs
      return known
    }
    if (this.#hosts.size >= this.#limits.hostsMax) return undefined
    const host = new HostRecord(facts, intervalMs, nowMs)
    this.#hosts.set(host.id, host)
    return host
  }

  /** The host leaves, with all its peers. */
  removeHost(host: HostRecord): readonly TaskRecord[] {
    if (this.#hosts.get(host.id) === host) this.#hosts.delete(host.id)
    const touched = new Set<TaskRecord>()
    for (const peer of this.peersOf(host)) {
      touched.add(peer.task)
      this.removePeer(peer)
    }
    for (const task of this.#tasks.values()) if (task.triggers.delete(host.id)) touched.add(task)
    return [...touched]
  }

  /** Finds or adds a task. Undefined when there are too many that are in use. */
  ensureTask(id: string, kind: TaskKind): TaskRecord | undefined {
    const known = this.#tasks.get(id)
    if (known !== undefined) return known.kind === kind ? known : undefined
    if (this.#tasks.size >= this.#limits.tasksMax) {
      const [oldest] = this.#idle
      if (oldest === undefined) return undefined
      this.removeTask(oldest)
    }
    const task = new TaskRecord(id, kind, { ms: this.#clock.now(), date: this.#clock.date() })
    this.#tasks.set(id, task)
    this.#idle.add(task)
    return task
  }

  /** Forgets a task and its peers. */
  removeTask(task: TaskRecord): void {
    for (const peer of task.peers.values()) this.removePeer(peer)
    this.#idle.delete(task)
    if (this.#tasks.get(task.id) === task) this.#tasks.delete(task.id)
  }

  /** Adds a peer in state Pending; one with the same id makes room. Undefined when there are too many. */
  addPeer(id: string, host: HostRecord, task: TaskRecord, wish: PeerWish): PeerRecord | undefined {
    const before = task.peers.get(id)
    if (before !== undefined) this.removePeer(before)
    if (this.#peerCount >= this.#limits.peersMax) return undefined
    if (task.peers.size >= this.#limits.taskPeersMax && !this.#makeRoom(task)) return undefined
    const peer = new PeerRecord(id, host, task, wish, this.#clock.date())
    task.peers.set(id, peer)
    const peers = this.#peersOf.get(host) ?? new Set<PeerRecord>()
    this.#peersOf.set(host, peers.add(peer))
    this.#idle.delete(task)
    this.#peerCount++
    return peer
  }

  /** any → Leave, and gone. */
  removePeer(peer: PeerRecord): void {
    this.cut(peer)
    for (const child of peer.children) this.#unlink(peer, child)
    peer.left()
    this.#failed.delete(peer)
    const peers = this.#peersOf.get(peer.host)
    peers?.delete(peer)
    if (peers?.size === 0) this.#peersOf.delete(peer.host)
    const { task } = peer
    if (task.peers.get(peer.id) !== peer) return
    task.peers.delete(peer.id)
    this.#peerCount--
    if (task.peers.size > 0 || this.#tasks.get(task.id) !== task) return
    task.idleMs = this.#clock.now()
    this.#idle.add(task)
  }

  /** The child has these parents and no others. */
  bind(child: PeerRecord, parents: readonly PeerRecord[]): void {
    this.cut(child)
    for (const parent of parents) {
      parent.children.add(child)
      child.parents.add(parent)
    }
    child.depth = 1 + Math.min(...parents.map(({ depth }) => depth))
    // It learns the length with the parents.
    child.geometry ??= parents[0]?.geometry
  }

  /** The child has no parents. */
  cut(child: PeerRecord): void {
    for (const parent of child.parents) this.#unlink(parent, child)
    child.depth = 0
  }

  /** Running or BackToSource → Succeeded. Older records of the same content on the same host say nothing more. */
  succeeded(peer: PeerRecord): void {
    peer.succeeded(this.#clock.now())
    this.cut(peer)
    if (peer.state.is !== 'Succeeded') return
    // It has all of them: no need to remember which.
    if (peer.range === undefined) peer.pieces = undefined
    for (const other of this.peersOf(peer.host)) {
      if (other === peer || other.task !== peer.task || !other.isOver) continue
      if (coversRange(peer.range, other.range)) {
        peer.persistent ||= other.persistent
        this.removePeer(other)
      }
    }
  }

  /** This peer wants content, so its host lacks some: what the host said before, that it has all of it, is true no more. */
  lacks(peer: PeerRecord): void {
    for (const other of peer.task.peers.values()) {
      if (other === peer || other.host !== peer.host || other.range !== undefined) continue
      const claim = other.state.is === 'Succeeded' || (other.holds && !other.isOver)
      if (claim) this.removePeer(other)
    }
  }

  /** → Failed: it is offered to nobody, and feeds nobody. */
  failed(peer: PeerRecord, reason: string): void {
    if (peer.isOver) return
    peer.failed(this.#clock.now(), reason)
    this.cut(peer)
    for (const child of peer.children) this.#unlink(peer, child)
    if (peer.task.peers.get(peer.id) === peer) this.#failed.add(peer)
  }

  /** Drops what is overdue. Returns the tasks that lost a peer by it. */
  sweep(): readonly TaskRecord[] {
    const nowMs = this.#clock.now()
    const touched = new Set<TaskRecord>()
    for (const host of this.#hosts.values()) {
      if (!host.isLost(nowMs)) continue
      for (const task of this.removeHost(host)) touched.add(task)
    }
    for (const peer of this.#failed) {
      if (peer.state.is === 'Failed' && nowMs - peer.state.sinceMs < this.#limits.failedKeptMs)
        break
      this.removePeer(peer)
    }
    for (const task of this.#idle) {
      if (nowMs - task.idleMs < this.#limits.idleTaskMs) break
      if (task.cache === undefined) this.removeTask(task)
    }
    return [...touched]
  }

  /** How many there are. */
  get counts(): { readonly hosts: number; readonly tasks: number; readonly peers: number } {
    return { hosts: this.#hosts.size, tasks: this.#tasks.size, peers: this.#peerCount }
  }

  #makeRoom(task: TaskRecord): boolean {
    const peers = [...task.peers.values()]
    const victim =
      peers.find(({ state }) => state.is === 'Failed') ??
      peers.find(({ state, children }) => state.is === 'Succeeded' && children.size === 0)
    if (victim !== undefined) this.removePeer(victim)
    return victim !== undefined
  }

  #unlink(parent: PeerRecord, child: PeerRecord): void {
    parent.children.delete(child)
    child.parents.delete(parent)
  }
}

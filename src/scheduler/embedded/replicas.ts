import { createClient } from '@connectrpc/connect'

import { DfdaemonUpload } from '../../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import type { Clock } from '../../util/clock.ts'
import type { HostCalls } from './host-calls.ts'
import type { HostRecord } from './host-record.ts'
import type { SchedulerLimits } from './limits.ts'
import type { Registry } from './registry.ts'
import type { PeerRecord, TaskRecord } from './records.ts'

/** What keeping copies needs. */
export interface ReplicaParts {
  readonly clock: Clock
  readonly limits: SchedulerLimits
  readonly random: () => number
  readonly registry: Registry
  readonly calls: HostCalls
}

/** One order for a copy, under way or failed. */
interface Order {
  readonly is: 'running' | 'failed'
  readonly sinceMs: number
}

/**
 * Keeps the number of copies of persistent cache tasks that their importers asked for (controlplane 5.4).
 *
 * First those who have it anyway are told to keep it, then others are told to fetch it. Unlike Go it looks again whenever a copy or a host comes or goes,
 * so a shortfall does not last, and an order that failed is given to another host.
 */
export class Replicas {
  readonly #parts: ReplicaParts
  /** Tasks with an importer's wish. */
  readonly #tasks = new Set<TaskRecord>()
  /** By task and host id. */
  readonly #orders = new Map<TaskRecord, Map<string, Order>>()

  constructor(parts: ReplicaParts) {
    this.#parts = parts
  }

  /** The task has an importer's wish: from now on its copies are counted. */
  watch(task: TaskRecord): void {
    this.#tasks.add(task)
  }

  /** Orders what is missing of every task. */
  repairAll(): void {
    for (const task of this.#tasks) this.repair(task)
  }

  /** Orders what is missing. */
  repair(task: TaskRecord): void {
    const { cache, geometry } = task
    if (cache === undefined || geometry === undefined || task.state !== 'Succeeded') return
    let missing = cache.replicas - task.replicas.persistent - this.#running(task)
    if (missing <= 0 || task.replicas.all === 0) return
    for (const peer of this.#keepers(task)) {
      if (missing <= 0) return
      missing--
      this.#order(task, peer.host, () => this.#keep(task, peer))
    }
    for (const host of this.#candidates(task, geometry.contentLength)) {
      if (missing <= 0) return
      missing--
      this.#order(task, host, () => this.#fetch(task, host))
    }
  }

  /** Tells every host that has it to drop it, and forgets the task. */
  remove(task: TaskRecord): void {
    const { registry, calls } = this.#parts
    const hosts = new Set([...task.peers.values()].map(({ host }) => host))
    this.#forget(task)
    registry.removeTask(task)
    for (const host of hosts) {
      // A host that cannot be reached drops it when its time to live is over.
      void calls.run(host, host.facts.downloadPort, async (transport, signal) => {
        const client = createClient(DfdaemonUpload, transport)
        await client.deletePersistentCacheTask({ taskId: task.id }, { signal, timeoutMs: 120_000 })
      })
    }
  }

  /** Tells one host to drop its copy. */
  removeCopy(taskId: string, host: HostRecord): void {
    void this.#parts.calls.run(host, host.facts.downloadPort, async (transport, signal) => {
      const client = createClient(DfdaemonUpload, transport)
      await client.deletePersistentCacheTask({ taskId }, { signal, timeoutMs: 120_000 })
    })
  }

  /** Forgets tasks whose time to live is over; their hosts drop them by themselves. */
  sweep(): void {
    const { clock, registry } = this.#parts
    const nowMs = clock.now()
    for (const task of this.#tasks) {
      const gone = registry.task(task.id) !== task
      if (!gone && nowMs < (task.cache?.expiresMs ?? 0)) continue
      this.#forget(task)
      if (!gone) registry.removeTask(task)
    }
  }

  /** Copies on order, by task, as plain data. */
  explain(task: TaskRecord): unknown {
    return Object.fromEntries(this.#orders.get(task) ?? [])
  }

  #forget(task: TaskRecord): void {
    this.#tasks.delete(task)
    this.#orders.delete(task)
  }

  #running(task: TaskRecord): number {
    return [...(this.#orders.get(task)?.values() ?? [])].filter(({ is }) => is === 'running').length
  }

  /** Those that have it as anybody may have it: they only have to keep it. */
  #keepers(task: TaskRecord): readonly PeerRecord[] {
    return [...task.peers.values()].filter(
      (peer) =>
        peer.state.is === 'Succeeded' &&
        !peer.persistent &&
        !peer.host.disableShared &&
        this.#mayOrder(task, peer.host),
    )
  }

  /** Hosts that could fetch it, in any order. */
  #candidates(task: TaskRecord, contentLength: number): readonly HostRecord[] {
    const having = new Set([...task.peers.values()].map(({ host }) => host))
    const found = [...this.#parts.registry.hosts].filter(
      (host) =>
        !having.has(host) &&
        !host.disableShared &&
        (host.facts.diskFree ?? contentLength) >= contentLength &&
        this.#mayOrder(task, host),
    )
    const { random } = this.#parts
    return found
      .map((host) => ({ host, at: random() }))
      .sort((a, b) => a.at - b.at)
      .map(({ host }) => host)
  }

  #mayOrder(task: TaskRecord, host: HostRecord): boolean {
    const { calls, clock, limits } = this.#parts
    if (!calls.free) return false
    const order = this.#orders.get(task)?.get(host.id)
    if (order === undefined) return true
    return order.is === 'failed' && clock.now() - order.sinceMs >= limits.replicaRetryMs
  }

  #order(task: TaskRecord, host: HostRecord, run: () => Promise<boolean>): void {
    const { clock, calls, limits } = this.#parts
    const orders = this.#orders.get(task) ?? new Map<string, Order>()
    this.#orders.set(task, orders)
    orders.set(host.id, { is: 'running', sinceMs: clock.now() })
    void run().then((done) => {
      if (calls.closed) return
      orders.delete(host.id)
      if (!done) {
        orders.set(host.id, { is: 'failed', sinceMs: clock.now() })
        clock.after(limits.replicaRetryMs, () => {
          orders.delete(host.id)
          this.repair(task)
        })
      }
      this.repair(task)
    })
  }

  /** This peer has it already, and shall keep it. */
  async #keep(task: TaskRecord, peer: PeerRecord): Promise<boolean> {
    const { calls } = this.#parts
    const { host } = peer
    const done = await calls.run(host, host.facts.downloadPort, async (transport, signal) => {
      const client = createClient(DfdaemonUpload, transport)
      const request = { taskId: task.id, persistent: true }
      await client.updatePersistentCacheTask(request, { signal, timeoutMs: 120_000 })
    })
    if (done) peer.persistent = true
    return done
  }

  /** This host shall fetch it and keep it. Its own registration makes it a peer; here it is marked. */
  async #fetch(task: TaskRecord, host: HostRecord): Promise<boolean> {
    const { calls, registry } = this.#parts
    const { tag, application } = task.labels
    const done = await calls.run(host, host.facts.downloadPort, async (transport, signal) => {
      const client = createClient(DfdaemonUpload, transport)
      const request = {
        taskId: task.id,
        persistent: true,
        needPieceContent: false,
        ...(tag === undefined ? {} : { tag }),
        ...(application === undefined ? {} : { application }),
      }
      for await (const _ of client.downloadPersistentCacheTask(request, { signal })) continue
    })
    // Who did not promise to keep it has it like anybody else, if at all.
    if (!done) return false
    const copies = [...registry.peersOf(host)].filter(
      (peer) => peer.task === task && peer.state.is === 'Succeeded',
    )
    for (const peer of copies) peer.persistent = true
    return copies.length > 0
  }
}

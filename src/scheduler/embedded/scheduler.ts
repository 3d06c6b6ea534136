import { setMaxListeners } from 'node:events'

import type { ConnectRouter } from '@connectrpc/connect'

import { Scheduler } from '../../rpc/gen/scheduler/v2/scheduler_pb.ts'
import { type Clock, systemClock } from '../../util/clock.ts'
import { cacheMethods } from './cache-service.ts'
import { Dispatcher } from './dispatcher.ts'
import { type Dial, HostCalls } from './host-calls.ts'
import { type SchedulerLimits, schedulerLimits } from './limits.ts'
import { Registry } from './registry.ts'
import { Replicas } from './replicas.ts'
import { Seeds } from './seeds.ts'
import { type ServiceWorld, standardMethods } from './service.ts'
import { type ShownTask, shown } from './shown.ts'
import type { PeerRecord, TaskRecord } from './records.ts'

/** What an `EmbeddedScheduler` works with. */
export interface EmbeddedSchedulerOptions {
  /** Makes the transport to the upload service of a host. Without it no seed is triggered and no copy is ordered. The scheduler closes none. */
  readonly dial?: Dial
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
  /** 0 to 1, 1 excluded; chooses among equals. @defaultValue `Math.random` */
  readonly random?: () => number
  /** Bounds and times. @defaultValue `schedulerLimits` */
  readonly limits?: Partial<SchedulerLimits>
}

/**
 * A scheduler for one site, inside this process: the service that peers know as `scheduler.v2.Scheduler`, over any channel or server.
 *
 * It keeps everything in memory, within `schedulerLimits`. It has no thread, no port and no timer that keeps the process alive. Who owns what:
 *
 *   Registry     hosts, tasks, peers, edges: the facts      Dispatcher   who waits for an answer, and when it is given
 *   verdict.ts   what a child is told: pure                 rank.ts      whom it is offered: pure
 *   PeerStream   one child on its stream                    Seeds, Replicas   what hosts are asked to do
 *
 * @example
 * ```ts
 * const scheduler = new EmbeddedScheduler({ dial: ({ ip, port }) => channels.to(ip, port) })
 * const channel = localChannel(scheduler.routes)
 * const server = await serveRpc({ routes: scheduler.routes, host: '0.0.0.0', port: 8002 })
 * ```
 */
export class EmbeddedScheduler {
  /** Registers the service, for `localChannel` and `serveRpc`. */
  readonly routes: (router: ConnectRouter) => void
  readonly #registry: Registry
  readonly #dispatcher: Dispatcher
  readonly #replicas: Replicas
  readonly #calls: HostCalls
  readonly #clock: Clock
  readonly #limits: SchedulerLimits
  readonly #lifetime = new AbortController()
  #sweep: (() => void) | undefined

  constructor(options: EmbeddedSchedulerOptions = {}) {
    const clock = options.clock ?? systemClock
    const random = options.random ?? Math.random
    const limits = { ...schedulerLimits, ...options.limits }
    this.#clock = clock
    this.#limits = limits
    this.#registry = new Registry(clock, limits)
    const registry = this.#registry
    this.#calls = new HostCalls(options.dial, limits.callsMax, clock)
    // Every stream listens to it; Node would take the eleventh for a leak and say so on the console.
    setMaxListeners(0, this.#lifetime.signal)
    const calls = this.#calls
    const seeds = new Seeds(registry, calls, clock, (task, host) =>
      this.#dispatcher.onSeedEnded(task, host),
    )
    this.#dispatcher = new Dispatcher({ clock, limits, random, registry, seeds })
    this.#replicas = new Replicas({ clock, limits, random, registry, calls })
    this.routes = this.#routes()
  }

  /** Ends all streams and calls, and stops all timers. Safe to call twice. */
  close(): void {
    this.#lifetime.abort()
    this.#calls.close()
    this.#dispatcher.close()
    this.#sweep?.()
  }

  /** The state as plain data, without anything secret. Of a large site it tells what is unfinished and what is newest, and how much it leaves out. */
  explain(): unknown {
    const { hosts, tasks, leftOut } = shown(this.#registry, this.#dispatcher.waitedFor)
    return {
      peers: this.#registry.counts.peers,
      calls: this.#calls.running,
      leftOut,
      hosts: hosts.map((host) => ({
        id: host.id,
        address: `${host.facts.ip} port ${host.facts.port}`,
        seed: host.isSeed,
        silentMs: this.#clock.now() - host.heardMs,
        peers: this.#registry.peersOf(host).size,
      })),
      tasks: tasks.map((each) => this.#explainTask(each)),
    }
  }

  #routes(): (router: ConnectRouter) => void {
    const world: ServiceWorld & { readonly replicas: Replicas } = {
      registry: this.#registry,
      dispatcher: this.#dispatcher,
      replicas: this.#replicas,
      limits: this.#limits,
      signal: this.#lifetime.signal,
      nowMs: () => this.#clock.now(),
      date: () => this.#clock.date(),
      onCopies: (task) => this.#replicas.repair(task),
      onHost: () => this.#onHost(),
      onLost: (tasks) => this.#onLost(tasks),
    }
    return (router) => {
      // What is not there answers Unimplemented: cache tasks, which nobody implements, and persistent tasks, which need an object storage.
      router.service(Scheduler, { ...standardMethods(world), ...cacheMethods(world) })
    }
  }

  #onHost(): void {
    this.#planSweep()
    this.#replicas.repairAll()
  }

  #onLost(tasks: readonly TaskRecord[]): void {
    for (const task of tasks) this.#dispatcher.advance(task)
    for (const task of tasks) this.#replicas.repair(task)
  }

  /** Only while there is something that can be overdue. */
  #planSweep(): void {
    if (this.#sweep !== undefined || this.#lifetime.signal.aborted) return
    this.#sweep = this.#clock.after(this.#limits.sweepMs, () => {
      this.#sweep = undefined
      this.#onLost(this.#registry.sweep())
      this.#replicas.sweep()
      const { hosts, tasks } = this.#registry.counts
      if (hosts + tasks > 0) this.#planSweep()
    })
  }

  #explainTask({ task, peers }: ShownTask): unknown {
    return {
      id: task.id,
      kind: task.kind,
      state: task.state,
      ...(task.geometry === undefined ? {} : { geometry: task.geometry }),
      ...(task.cache === undefined ? {} : { wanted: task.cache.replicas, have: task.replicas }),
      seedsAsked: [...task.triggers.keys()],
      waiting: this.#dispatcher.explain(task),
      copiesOrdered: this.#replicas.explain(task),
      peers: peers.map(explainPeer),
    }
  }
}

function explainPeer(peer: PeerRecord): unknown {
  return {
    id: peer.id,
    host: peer.host.id,
    ...peer.state,
    parents: [...peer.parents].map(({ id }) => id),
    children: peer.children.size,
    failures: peer.blames,
    ...(peer.persistent ? { persistent: true } : {}),
  }
}

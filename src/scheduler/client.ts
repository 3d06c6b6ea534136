import { Code, ConnectError } from '@connectrpc/connect'

import { PeerError } from '../errors.ts'
import type { Channel } from '../rpc/channel.ts'
import type { HostFigures } from '../rpc/convert-host.ts'
import { parentOf } from '../rpc/convert-peer.ts'
import { taskFacts } from '../rpc/convert-task.ts'
import type { Geometry, Range } from '../task/piece.ts'
import type { Announcer, Parent, Registration, Session, TaskSpec } from '../task/ports.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import { abortable } from '../util/scope.ts'
import { Asker } from './asker.ts'
import { CacheCalls, type CacheUpload, type CacheUploadName } from './cache-calls.ts'
import { Failover } from './failover.ts'
import { schedulerFailure, unavailable } from './failure.ts'
import { HostAnnouncer } from './host-announcer.ts'
import { type KnownCacheTask, type KnownTask, knownTask } from './known-task.ts'
import { type SchedulerNode, SchedulerNodes } from './nodes.ts'
import { AnnounceSession, type SessionWorld } from './session.ts'

/** What a `SchedulerClient` works with. */
export interface SchedulerClientOptions {
  /** Where the schedulers are. Several must be `ip:port`: names cannot be put on a ring. */
  readonly addresses: readonly string[]
  /** Makes the channel to one of them; `openChannel` or `localChannel`. The client closes it. */
  readonly open: (address: string) => Channel
  /** What to tell about this host, asked anew for each announcement. Its id stays the same. */
  readonly host: () => HostFigures
  /** Milliseconds between announcements; the scheduler drops a host after twice this. @defaultValue 30000 */
  readonly announceIntervalMs?: number
  /** Milliseconds for one unary call to one scheduler. @defaultValue 10000 */
  readonly callTimeoutMs?: number
  /** Milliseconds that `finish()` of a session waits for the scheduler to end the stream. @defaultValue 2000 */
  readonly finishTimeoutMs?: number
  /**
   * This scheduler answers for the first time, answers again, or has forgotten this host. What is kept here should be announced to it with
   * `announceHeld`, paced.
   */
  readonly onFound?: (address: string) => void
  /** This scheduler answers no more. */
  readonly onLost?: (address: string) => void
  /** One is gone or does not answer: others own its tasks now, see `ownerOf`. */
  readonly onRing?: () => void
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
  /** 0 up to, not including, 1; spreads the tries of those who were turned away together. @defaultValue `Math.random` */
  readonly random?: () => number
}

/** A task that is kept here, whole or in part. */
export interface Held {
  readonly peerId: string
  readonly spec: TaskSpec
  readonly geometry: Geometry
  /** Of a standard task that is not here whole: what is. */
  readonly range?: Range
  /** Copies that were asked for, of a persistent cache task. @defaultValue 1 */
  readonly replicas?: number
}

/**
 * The schedulers, as the peer sees them: one ring, asked in the order that all peers agree on, the next one when one does not answer.
 *
 * Every call takes the `signal` of its caller and rejects with its reason when it fires, with `SCHEDULER_UNAVAILABLE` when no scheduler can be
 * reached, and with `SCHEDULER_REFUSED` when one says no.
 *
 * @example
 * ```ts
 * const client = new SchedulerClient({ addresses, open: (address) => openChannel({ address }), host })
 * await client.announceHost(signal)
 * const session = client.open(registration)
 * const answer = await session.next(signal)
 * ```
 */
export class SchedulerClient implements Announcer {
  readonly #options: SchedulerClientOptions
  readonly #clock: Clock
  readonly #callTimeoutMs: number
  readonly #nodes: SchedulerNodes
  readonly #announcer: HostAnnouncer
  readonly #failover: Failover
  readonly #asker: Asker
  readonly #cache: CacheCalls
  readonly #sessions = new Set<AnnounceSession>()
  readonly #lifetime = new AbortController()
  #announcing = false
  #left = false

  constructor(options: SchedulerClientOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#callTimeoutMs = options.callTimeoutMs ?? 10_000
    const onFound = (node: SchedulerNode): void => options.onFound?.(node.address)
    this.#nodes = new SchedulerNodes(options.open, {
      clock: this.#clock,
      onFound,
      onLost: ({ address }) => {
        options.onLost?.(address)
        options.onRing?.()
      },
      onBroken: (node) => this.#announcer.doubt(node),
    })
    this.#announcer = new HostAnnouncer({
      clock: this.#clock,
      host: options.host,
      intervalMs: options.announceIntervalMs ?? 30_000,
      callTimeoutMs: this.#callTimeoutMs,
      signal: this.#lifetime.signal,
      onForgotten: onFound,
    })
    this.#failover = new Failover(
      this.#nodes,
      (node) => this.#announceTo(node),
      this.#callTimeoutMs,
    )
    this.#asker = new Asker({
      failover: this.#failover,
      addresses: () => this.addresses,
      hostId: () => options.host().id,
      clock: this.#clock,
      lifetime: this.#lifetime.signal,
    })
    this.#cache = new CacheCalls(this.#asker, (upload, signal) => this.#join(upload, signal))
    this.#nodes.set(options.addresses)
  }

  /** Where the schedulers are. */
  get addresses(): readonly string[] {
    return this.#nodes.addresses
  }

  /**
   * Takes a new list. Sessions on schedulers that are gone from it end by themselves. New ones hear of this host at once, if it was announced.
   *
   * @throws TypeError when there are several and one is no `ip:port`
   */
  setAddresses(addresses: readonly string[]): void {
    if (this.#lifetime.signal.aborted) return
    const before = this.#nodes.all
    const added = this.#nodes.set(addresses)
    const after = new Set(this.#nodes.all)
    const gone = before.filter((node) => !after.has(node))
    for (const node of gone) this.#announcer.stop(node)
    if (!this.#announcing) return
    for (const node of added) this.#announceQuietly(node)
    if (gone.length > 0) this.#options.onRing?.()
  }

  /**
   * Makes this host known to every scheduler, now and from then on. Resolves when the first has taken it; the tries go on whatever comes of it.
   *
   * @throws PeerError SCHEDULER_UNAVAILABLE, SCHEDULER_REFUSED, CLOSED
   */
  async announceHost(signal: AbortSignal): Promise<void> {
    this.#announcing = true
    this.#left = false
    using scope = this.#asker.scope(signal)
    const nodes = this.#nodes.all
    const calls = nodes.map((node) => this.#announcer.start(node))
    try {
      if (nodes.length === 0) throw unavailable([], 'no address is known')
      await abortable(Promise.any(calls), scope.signal)
    } catch (error) {
      scope.signal.throwIfAborted()
      if (!(error instanceof AggregateError)) throw error
      const [first] = error.errors as unknown[]
      throw this.#failover.error('AnnounceHost', schedulerFailure(first), first)
    }
  }

  /** Which scheduler is asked first for this task; undefined while none is known. */
  ownerOf(taskId: string): string | undefined {
    return this.#nodes.order(taskId)[0]?.address
  }

  /** Starts to announce a download. Never throws: what goes wrong shows in `next()`. */
  open(registration: Registration): Session {
    const { random } = this.#options
    const world: SessionWorld = {
      clock: this.#clock,
      ...(random === undefined ? {} : { random }),
      hostId: this.#options.host().id,
      signal: this.#lifetime.signal,
      finishTimeoutMs: this.#options.finishTimeoutMs ?? 2_000,
      nodes: this.#nodes.order(registration.spec.id),
      announceTo: (node) => this.#announceTo(node),
    }
    const session = new AnnounceSession(world, registration)
    this.#sessions.add(session)
    void session.over.then(() => this.#sessions.delete(session))
    return session
  }

  /**
   * Tells the scheduler that this task is kept here, so that it offers this host as a parent. A standard task is registered with
   * `metadata_only`; an older scheduler, which does not know that, is answered what it wants to hear (controlplane 1.6). A persistent cache task
   * is imported again, which the embedded scheduler takes for the same task.
   */
  async announceHeld(held: Held, signal: AbortSignal): Promise<void> {
    const { peerId, spec, geometry } = held
    if (spec.kind === 'persistentCache') {
      const replicas = held.replicas ?? spec.replicas ?? 1
      return this.#cache.importTask({ peerId, spec, geometry, replicas }, signal)
    }
    return this.#hold(held, false, signal)
  }

  /** Written content is here: the scheduler shall know it, whatever it knew before. See `announceHeld`. */
  async importTask(upload: CacheUpload, signal: AbortSignal): Promise<void> {
    await this.#cache.importTask(upload, signal)
  }

  async #hold(held: Held, persistent: boolean, signal: AbortSignal): Promise<void> {
    const session = this.open({
      peerId: held.peerId,
      spec: held.spec,
      geometry: held.geometry,
      ...(held.range === undefined ? {} : { range: held.range }),
      needBackToSource: false,
      // A scheduler that takes this for a download must trigger no seed for it.
      backToSource: 'never',
      metadataOnly: true,
      persistent,
      concurrency: 1,
    })
    let source = false
    try {
      using scope = this.#asker.scope(signal, this.#callTimeoutMs)
      const answer = await session.next(scope.signal)
      source = answer?.is === 'source'
      if (source) session.sourceStarted()
      else session.started()
    } finally {
      await session.finish({ is: 'done', source })
    }
  }

  /** What the scheduler knows about a standard task; undefined when it knows none. */
  async statTask(taskId: string, signal: AbortSignal): Promise<KnownTask | undefined> {
    const request = this.#asker.names(taskId)
    const task = await this.#asker.stat(
      { method: 'StatTask', taskId },
      (client, options) => client.statTask(request, options),
      signal,
    )
    return task === undefined ? undefined : knownTask({ ...taskFacts(task), id: taskId })
  }

  /** See `Announcer`. Asked of the scheduler that owns the task. */
  async find({ id }: TaskSpec, peerId: string, signal: AbortSignal): Promise<Parent | undefined> {
    const request = { ...this.#asker.names(id), peerId }
    const peer = await this.#asker.stat(
      { method: 'StatPeer', taskId: id },
      (client, options) => client.statPeer(request, options),
      signal,
    )
    // A Go scheduler looks at the peer id alone.
    const found = peer?.task?.id === id && peer.id === peerId ? parentOf(peer) : undefined
    return found?.hostId === request.hostId ? undefined : found
  }

  /** What the scheduler knows about a persistent cache task; undefined when it knows none, or keeps none at all. */
  statPersistentCacheTask(
    taskId: string,
    signal: AbortSignal,
  ): Promise<KnownCacheTask | undefined> {
    return this.#cache.stat(taskId, signal)
  }

  /** This host no longer has the task. Nothing happens when the scheduler does not know of it. */
  async deleteTask(taskId: string, signal: AbortSignal): Promise<void> {
    const request = this.#asker.names(taskId)
    await this.#asker.stat(
      { method: 'DeleteTask', taskId },
      (client, options) => client.deleteTask(request, options),
      signal,
    )
  }

  /** Removes a persistent cache task from the network. Nothing happens when the scheduler does not know it. */
  deletePersistentCacheTask(taskId: string, signal: AbortSignal): Promise<void> {
    return this.#cache.delete(taskId, signal)
  }

  /** This host no longer has its copy, under that peer id. The scheduler makes another one elsewhere, and orders this host to delete, which does no harm. */
  deletePersistentCachePeer(taskId: string, peerId: string, signal: AbortSignal): Promise<void> {
    return this.#cache.deletePeer(taskId, peerId, signal)
  }

  /** This host leaves: every scheduler that can be reached is told, and nothing is announced any more. Never throws but for the signal. */
  async deleteHost(signal: AbortSignal): Promise<void> {
    this.#announcing = false
    this.#left = true
    using scope = this.#asker.scope(signal)
    const options = { signal: scope.signal, timeoutMs: this.#callTimeoutMs }
    const hostId = this.#options.host().id
    const calls = this.#nodes.all.map((node) => {
      this.#announcer.stop(node)
      return node.client.deleteHost({ hostId }, options)
    })
    // A scheduler that does not hear it finds out by itself when the announcements stay away.
    await Promise.allSettled(calls)
    signal.throwIfAborted()
  }

  /** An import begins. `exists`: the scheduler has this task already, and it needs no second one. */
  uploadPersistentCacheTaskStarted(
    upload: CacheUpload,
    signal: AbortSignal,
  ): Promise<'started' | 'exists'> {
    return this.#cache.started(upload, signal)
  }

  /** An import is complete; what the scheduler knows about it now. It makes the other copies from here on. */
  uploadPersistentCacheTaskFinished(
    upload: CacheUploadName,
    signal: AbortSignal,
  ): Promise<KnownCacheTask> {
    return this.#cache.finished(upload, signal)
  }

  /** An import failed. */
  uploadPersistentCacheTaskFailed(
    upload: CacheUploadName & { readonly reason: string },
    signal: AbortSignal,
  ): Promise<void> {
    return this.#cache.failed(upload, signal)
  }

  /** What is going on, as plain data. */
  explain(): unknown {
    return {
      nodes: this.#nodes.all.map(({ address, state }) => ({ address, ...state })),
      sessions: [...this.#sessions].map((session) => session.explain()),
    }
  }

  /** Ends all sessions and channels. Says nothing to the schedulers: `deleteHost` does. Safe to call twice. */
  close(): void {
    if (this.#lifetime.signal.aborted) return
    const what = 'The scheduler client'
    this.#lifetime.abort(new PeerError('CLOSED', `${what} was closed`, { what }))
    this.#announcer.close()
    this.#nodes.close()
  }

  /** A host that took its leave stays away, whoever asks for it. */
  async #announceTo(node: SchedulerNode): Promise<void> {
    if (this.#left) throw new ConnectError('This host has left', Code.NotFound)
    await this.#announcer.announceTo(node)
  }

  #announceQuietly(node: SchedulerNode): void {
    // The failure is known to the node, and the next try is planned.
    this.#announcer.start(node).catch(() => undefined)
  }

  /** One more holder of a written file. A scheduler that finds nobody else who holds it refuses: then it knows of this host already, or nobody can tell it. */
  async #join({ peerId, spec, geometry }: CacheUpload, signal: AbortSignal): Promise<void> {
    try {
      await this.#hold({ peerId, spec, geometry }, true, signal)
    } catch (error) {
      if (!PeerError.is(error, 'SCHEDULER_REFUSED')) throw error
    }
  }
}

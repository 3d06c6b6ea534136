import { Code, ConnectError } from '@connectrpc/connect'

import { PeerError } from '../errors.ts'
import type { Channel } from '../rpc/channel.ts'
import { shortText, u32, u64, wireTime } from '../rpc/convert.ts'
import type { HostFigures } from '../rpc/convert-host.ts'
import { cacheTaskFacts, taskFacts } from '../rpc/convert-task.ts'
import type { Geometry } from '../task/piece.ts'
import type { Announcer, Registration, Session, TaskSpec } from '../task/ports.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import { abortable, Scope } from '../util/scope.ts'
import { type Call, Failover } from './failover.ts'
import { schedulerFailure, unavailable } from './failure.ts'
import { HostAnnouncer } from './host-announcer.ts'
import { type KnownCacheTask, type KnownTask, knownCacheTask, knownTask } from './known-task.ts'
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
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
}

/** A task that is kept here whole. */
export interface Held {
  readonly peerId: string
  readonly spec: TaskSpec
  readonly geometry: Geometry
  /** Copies that were asked for, of a persistent cache task. @defaultValue 1 */
  readonly replicas?: number
}

/** One import of a persistent cache task. */
export interface CacheUpload {
  readonly peerId: string
  /** Of kind `persistentCache`, with `ttlMs`. */
  readonly spec: TaskSpec
  readonly geometry: Geometry
  /** Copies to keep in the network, this one included. */
  readonly replicas: number
}

/** What kind of life a written file has when nobody chose one: 24 hours, as upstream. */
const ttlDefaultMs = 24 * 60 * 60 * 1000

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
  readonly #sessions = new Set<AnnounceSession>()
  readonly #lifetime = new AbortController()
  #announcing = false
  #left = false

  constructor(options: SchedulerClientOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#callTimeoutMs = options.callTimeoutMs ?? 10_000
    const onFound = (node: SchedulerNode): void => options.onFound?.(node.address)
    this.#nodes = new SchedulerNodes(options.open, { clock: this.#clock, onFound })
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
    for (const node of before) if (!after.has(node)) this.#announcer.stop(node)
    if (!this.#announcing) return
    for (const node of added) this.#announceQuietly(node)
  }

  /**
   * Makes this host known to every scheduler, now and from then on. Resolves when the first has taken it; the tries go on whatever comes of it.
   *
   * @throws PeerError SCHEDULER_UNAVAILABLE, SCHEDULER_REFUSED, CLOSED
   */
  async announceHost(signal: AbortSignal): Promise<void> {
    this.#announcing = true
    this.#left = false
    using scope = this.#scope(signal)
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

  /** Starts to announce a download. Never throws: what goes wrong shows in `next()`. */
  open(registration: Registration): Session {
    const world: SessionWorld = {
      clock: this.#clock,
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
   * Tells the scheduler that this task is kept here whole, so that it offers this host as a parent. A standard task is registered with
   * `metadata_only`; an older scheduler, which does not know that, is answered what it wants to hear (controlplane 1.6). A persistent cache task
   * is imported again, which the embedded scheduler takes for the same task.
   */
  async announceHeld(held: Held, signal: AbortSignal): Promise<void> {
    const { peerId, spec, geometry } = held
    if (spec.kind === 'persistentCache') {
      const upload = { peerId, spec, geometry, replicas: held.replicas ?? 1 }
      const how = await this.uploadPersistentCacheTaskStarted(upload, signal)
      if (how === 'started') await this.uploadPersistentCacheTaskFinished(upload, signal)
      return
    }
    const session = this.open({
      peerId,
      spec,
      geometry,
      needBackToSource: false,
      // A scheduler that takes this for a download must trigger no seed for it.
      backToSource: 'never',
      metadataOnly: true,
      concurrency: 1,
    })
    let source = false
    try {
      using scope = this.#scope(signal, this.#callTimeoutMs)
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
    const request = this.#names(taskId)
    const task = await this.#stat('StatTask', taskId, signal, (client, options) =>
      client.statTask(request, options),
    )
    return task === undefined ? undefined : knownTask({ ...taskFacts(task), id: taskId })
  }

  /** What the scheduler knows about a persistent cache task; undefined when it knows none, or keeps none at all. */
  async statPersistentCacheTask(
    taskId: string,
    signal: AbortSignal,
  ): Promise<KnownCacheTask | undefined> {
    const request = this.#names(taskId)
    const task = await this.#stat('StatPersistentCacheTask', taskId, signal, (client, options) =>
      client.statPersistentCacheTask(request, options),
    )
    return task === undefined ? undefined : knownCacheTask({ ...cacheTaskFacts(task), id: taskId })
  }

  /** This host no longer has the task. Nothing happens when the scheduler does not know of it. */
  async deleteTask(taskId: string, signal: AbortSignal): Promise<void> {
    const request = this.#names(taskId)
    await this.#stat('DeleteTask', taskId, signal, (client, options) =>
      client.deleteTask(request, options),
    )
  }

  /** Removes a persistent cache task from the network. Nothing happens when the scheduler does not know it. */
  async deletePersistentCacheTask(taskId: string, signal: AbortSignal): Promise<void> {
    const request = this.#names(taskId)
    await this.#stat('DeletePersistentCacheTask', taskId, signal, (client, options) =>
      client.deletePersistentCacheTask(request, options),
    )
  }

  /** This host leaves: every scheduler that can be reached is told, and nothing is announced any more. Never throws but for the signal. */
  async deleteHost(signal: AbortSignal): Promise<void> {
    this.#announcing = false
    this.#left = true
    using scope = this.#scope(signal)
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
  async uploadPersistentCacheTaskStarted(
    upload: CacheUpload,
    signal: AbortSignal,
  ): Promise<'started' | 'exists'> {
    const { spec, geometry } = upload
    const request = {
      ...this.#names(spec.id),
      peerId: upload.peerId,
      persistentReplicaCount: u64(upload.replicas),
      pieceLength: u64(geometry.pieceLength),
      contentLength: u64(geometry.contentLength),
      pieceCount: u32(geometry.pieceCount),
      ttl: wireTime(spec.ttlMs ?? ttlDefaultMs),
      ...(spec.tag === undefined ? {} : { tag: spec.tag }),
      ...(spec.application === undefined ? {} : { application: spec.application }),
    }
    const method = 'UploadPersistentCacheTaskStarted'
    using scope = this.#scope(signal)
    const outcome = await this.#failover.ask(
      { method, taskId: spec.id, needsHost: true },
      (client, options) => client.uploadPersistentCacheTaskStarted(request, options),
      scope.signal,
    )
    const failure = outcome.is === 'failed' ? outcome.failure : undefined
    if (failure?.is === 'refused' && failure.why === 'already-exists') return 'exists'
    this.#failover.result(method, outcome)
    return 'started'
  }

  /** An import is complete; what the scheduler knows about it now. It makes the other copies from here on. */
  async uploadPersistentCacheTaskFinished(
    upload: Pick<CacheUpload, 'peerId' | 'spec'>,
    signal: AbortSignal,
  ): Promise<KnownCacheTask> {
    const { id } = upload.spec
    const request = { ...this.#names(id), peerId: upload.peerId }
    const method = 'UploadPersistentCacheTaskFinished'
    using scope = this.#scope(signal)
    const outcome = await this.#failover.ask(
      { method, taskId: id },
      (client, options) => client.uploadPersistentCacheTaskFinished(request, options),
      scope.signal,
    )
    return knownCacheTask({
      ...cacheTaskFacts(this.#failover.result(method, outcome)),
      id,
    })
  }

  /** An import failed. */
  async uploadPersistentCacheTaskFailed(
    upload: Pick<CacheUpload, 'peerId' | 'spec'> & { readonly reason: string },
    signal: AbortSignal,
  ): Promise<void> {
    const { id } = upload.spec
    const request = {
      ...this.#names(id),
      peerId: upload.peerId,
      description: shortText(upload.reason),
    }
    const method = 'UploadPersistentCacheTaskFailed'
    using scope = this.#scope(signal)
    const outcome = await this.#failover.ask(
      { method, taskId: id },
      (client, options) => client.uploadPersistentCacheTaskFailed(request, options),
      scope.signal,
    )
    this.#failover.result(method, outcome)
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

  #names(taskId: string) {
    return { hostId: this.#options.host().id, taskId }
  }

  #scope(signal: AbortSignal, timeoutMs?: number): Scope {
    const parents = [this.#lifetime.signal, signal]
    if (timeoutMs === undefined) return new Scope(parents)
    const onTimeout = (): PeerError =>
      unavailable(this.addresses, `no answer within ${timeoutMs} ms`)
    return new Scope(parents, { timeoutMs, onTimeout, clock: this.#clock })
  }

  /** For a question that may have no answer: who does not know it, or keeps nothing of the kind, says undefined. */
  async #stat<T>(
    method: string,
    taskId: string,
    signal: AbortSignal,
    call: Call<T>,
  ): Promise<T | undefined> {
    using scope = this.#scope(signal)
    const outcome = await this.#failover.ask({ method, taskId }, call, scope.signal)
    if (outcome.is === 'failed') {
      const { failure } = outcome
      if (failure.is === 'unknown') return undefined
      // A Go scheduler without Redis keeps no persistent kinds, and says so with these.
      const why = failure.is === 'refused' ? failure.why : undefined
      if (why === 'precondition' || why === 'unimplemented') return undefined
    }
    return this.#failover.result(method, outcome)
  }
}

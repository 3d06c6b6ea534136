import { Code, ConnectError } from '@connectrpc/connect'

import { idLengthMax, textOf } from '../../rpc/convert.ts'
import { Inbox } from '../inbox.ts'
import type { Dispatcher } from './dispatcher.ts'
import type { SchedulerLimits } from './limits.ts'
import type { Registry } from './registry.ts'
import type { Names, PeerEvent, ServerDialect } from './server-dialect.ts'
import type { Verdict } from './verdict.ts'
import type { PeerRecord, TaskRecord } from './records.ts'

/** What the streams of all children share. */
export interface StreamWorld {
  readonly registry: Registry
  readonly dispatcher: Dispatcher
  readonly limits: SchedulerLimits
  /** Fires when the scheduler closes. */
  readonly signal: AbortSignal
  readonly nowMs: () => number
  readonly date: () => number
  /** A copy of a persistent cache task came or went. */
  readonly onCopies: (task: TaskRecord) => void
}

/**
 * One child on one AnnouncePeer stream (controlplane 1): says in the registry what the child says, and asks the dispatcher for answers.
 *
 * The stream is over when the child says that its download is, when it breaks the rules, or when the connection breaks. Then a child that has not
 * succeeded is failed, at once: it is offered to nobody any more.
 */
export class PeerStream<Request extends Names, Response> {
  readonly #world: StreamWorld
  readonly #dialect: ServerDialect<Request, Response>
  readonly #answers = new Inbox<Response>()
  #peer: PeerRecord | undefined
  #download: (PeerEvent & { is: 'register' })['download']
  #told = 0

  constructor(world: StreamWorld, dialect: ServerDialect<Request, Response>) {
    this.#world = world
    this.#dialect = dialect
  }

  /** Serves the stream to its end. */
  async *serve(requests: AsyncIterable<Request>, signal: AbortSignal): AsyncGenerator<Response> {
    const closed = this.#world.signal
    const close = (): void => {
      this.#answers.fail(new ConnectError('The scheduler closes', Code.Unavailable))
    }
    closed.addEventListener('abort', close, { once: true })
    if (closed.aborted) close()
    // Not in the loop below: it stands still while nobody takes an answer.
    signal.addEventListener('abort', () => this.#lose('The connection is lost'), { once: true })
    void this.#listen(requests)
    try {
      for (;;) {
        const answer = await this.#answers.next(signal)
        if (answer === undefined) return
        yield answer
      }
    } finally {
      closed.removeEventListener('abort', close)
      this.#lose('The stream is over')
    }
  }

  /** Never rejects: what goes wrong ends the answers with it. */
  async #listen(requests: AsyncIterable<Request>): Promise<void> {
    try {
      for await (const request of requests) {
        this.#hear(request)
        if (this.#peer?.isOver === true) break
      }
      this.#lose('The child said nothing more')
      this.#answers.end()
    } catch (error) {
      this.#lose('The stream broke')
      this.#answers.fail(error)
    }
  }

  #hear(request: Request): void {
    const event = this.#dialect.read(request)
    if (typeof event === 'string') throw new ConnectError(event, Code.InvalidArgument)
    if (event.is === 'register') return this.#register(request, event)
    const peer = this.#peer
    if (peer === undefined || peer.id !== request.peerId || peer.task.id !== request.taskId) {
      throw new ConnectError('No such peer is registered on this stream', Code.NotFound)
    }
    if (peer.state.is === 'Leave') throw new ConnectError('The peer has left', Code.NotFound)
    peer.host.heardMs = this.#world.nowMs()
    peer.task.updatedAt = this.#world.date()
    this.#note(peer, event)
  }

  #note(peer: PeerRecord, event: Exclude<PeerEvent, { is: 'register' }>): void {
    const { dispatcher, registry, nowMs } = this.#world
    const { task } = peer
    switch (event.is) {
      case 'started':
        return peer.started()
      case 'sourceStarted':
        peer.sourceStarted(nowMs())
        registry.cut(peer)
        return dispatcher.advance(task)
      case 'reschedule':
        return this.#reschedule(peer, event.parentIds)
      case 'piece': {
        for (const number of event.numbers) peer.has(number)
        const parent = task.peers.get(event.parentId)
        if (parent !== undefined) parent.blames = 0
        return dispatcher.nudge(task)
      }
      case 'pieceFailed': {
        const parent = task.peers.get(event.parentId)
        if (parent !== undefined) parent.blames++
        return this.#ban(peer, event.parentId, true)
      }
      case 'alive':
        return undefined
      case 'done':
        dispatcher.forget(peer)
        registry.succeeded(peer)
        if (peer.range === undefined) task.state = 'Succeeded'
        task.triggers.delete(peer.host.id)
        return this.#changed(task)
      case 'failed':
        return this.#fail(peer, event.reason, event.source)
    }
  }

  #register(names: Names, event: PeerEvent & { is: 'register' }): void {
    if (this.#peer !== undefined) {
      throw new ConnectError('The peer is registered already', Code.FailedPrecondition)
    }
    const { registry, dispatcher, nowMs } = this.#world
    const host = registry.host(names.hostId)
    if (host === undefined) throw new ConnectError('The host is unknown', Code.NotFound)
    host.heardMs = nowMs()
    const task = this.#task(names, event)
    const peer = registry.addPeer(names.peerId, host, task, event.wish)
    if (peer === undefined) throw new ConnectError('Too many peers', Code.ResourceExhausted)
    this.#peer = peer
    this.#download = event.download
    peer.persistent = event.persistent
    peer.holds = event.metadataOnly
    // A file written into the network is made known as a copy to keep by who has it, too.
    if (!event.metadataOnly && !event.persistent) registry.lacks(peer)
    peer.geometry ??= task.kind === 'persistentCache' ? task.geometry : undefined
    if (task.state !== 'Succeeded') task.state = 'Running'
    const length = peer.geometry ?? task.geometry
    peer.received(length?.contentLength === 0 ? 'ReceivedEmpty' : 'ReceivedNormal')
    if (event.metadataOnly) return this.#tell({ is: 'metadata' })
    dispatcher.ask(peer, event.download, (verdict) => this.#tell(verdict))
    // Now, and not before: those who wait for this seed must find either the trigger or the peer. A download that must not go to the origin is not the ordered one.
    if (!event.wish.never) task.triggers.delete(host.id)
  }

  #task({ taskId, peerId }: Names, event: PeerEvent & { is: 'register' }): TaskRecord {
    const { registry, date } = this.#world
    if (!textOf(taskId, idLengthMax) || !textOf(peerId, idLengthMax)) {
      throw new ConnectError('The id of the task or the peer is unusable', Code.InvalidArgument)
    }
    const known = registry.task(taskId)
    if (known !== undefined && known.kind !== this.#dialect.kind) {
      throw new ConnectError('The task is of another kind', Code.FailedPrecondition)
    }
    if (event.labels === undefined) {
      if (known === undefined) throw new ConnectError('The task is unknown', Code.NotFound)
      return known
    }
    const task = registry.ensureTask(taskId, this.#dialect.kind)
    if (task === undefined) throw new ConnectError('Too many tasks', Code.ResourceExhausted)
    // A peer that knows the task by its id alone has no labels, and takes none away.
    if (event.download?.url !== '') task.labels = { ...task.labels, ...event.labels }
    // Who may not ask the origin cannot know what it has now: what it says counts only where nobody says more.
    if (!event.wish.never || task.geometry === undefined) task.learn(event.wish.geometry)
    task.updatedAt = date()
    return task
  }

  #reschedule(peer: PeerRecord, parentIds: readonly string[]): void {
    const { dispatcher, limits, registry } = this.#world
    const most = peer.host.own ? limits.answersMax : limits.foreignAnswersMax
    if (this.#told >= most) {
      throw new ConnectError(`No more than ${most} answers on one stream`, Code.FailedPrecondition)
    }
    for (const id of parentIds) this.#ban(peer, id, false)
    // Without a list the child only wants more parents, and keeps those that it has.
    const more = parentIds.length === 0 && peer.parents.size > 0
    if (!more) registry.cut(peer)
    dispatcher.ask(peer, this.#download, (verdict) => this.#tell(verdict), more)
  }

  #ban(peer: PeerRecord, parentId: string, failed: boolean): void {
    const parent = peer.task.peers.get(parentId)
    if (parent === undefined || parent === peer) return
    // It was sent to the origin since the child last tried it, and will have what is missing.
    if (parent.orderedMs !== undefined) return
    peer.ban(parent, this.#world.nowMs(), this.#world.limits.banMs, failed)
  }

  #tell(verdict: Verdict): void {
    this.#told++
    const response = this.#dialect.write(verdict)
    if (response !== undefined) {
      void this.#answers.push(response)
      return
    }
    const reason = verdict.is === 'refused' ? verdict.reason : 'There is no answer'
    const missing = verdict.is === 'refused' && verdict.code === 'not-found'
    const code = missing ? Code.NotFound : Code.FailedPrecondition
    this.#answers.fail(new ConnectError(reason, code))
    this.#lose(reason)
  }

  #lose(reason: string): void {
    if (this.#peer !== undefined) this.#fail(this.#peer, reason, false)
  }

  #fail(peer: PeerRecord, reason: string, source: boolean): void {
    const { dispatcher, registry } = this.#world
    const { task, wish } = peer
    // Also one that was removed meanwhile: nobody would hear the answer.
    dispatcher.forget(peer)
    if (peer.isOver) return
    registry.failed(peer, reason)
    if (source && task.replicas.all === 0) task.state = 'Failed'
    if (wish.needBackToSource) dispatcher.seedFailed(task, peer.host.id)
    this.#changed(task)
  }

  #changed(task: TaskRecord): void {
    this.#world.dispatcher.advance(task)
    if (task.cache !== undefined) this.#world.onCopies(task)
  }
}

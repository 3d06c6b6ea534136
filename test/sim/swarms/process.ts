import { Code, ConnectError, createRouterTransport, type Transport } from '@connectrpc/connect'
import { PeerError } from '../../../src/errors.ts'
import { Announcements } from '../../../src/peer/announcements.ts'
import { changed, Current } from '../../../src/peer/current.ts'
import { recordOf, versionOf } from '../../../src/peer/record.ts'
import { DfdaemonUpload } from '../../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { SchedulerClient } from '../../../src/scheduler/client.ts'
import type { Store } from '../../../src/storage/store.ts'
import { type Geometry, geometry, type Range } from '../../../src/task/piece.ts'
import type { OriginStat, TaskSpec } from '../../../src/task/ports.ts'
import { Run } from '../../../src/task/run.ts'
import type { Share } from '../../../src/task/share.ts'
import { KeyedLock } from '../../../src/util/keyed-lock.ts'
import { abortable } from '../../../src/util/scope.ts'
import { SimChannel } from './channel.ts'
import { missingBytes } from './content.ts'
import type { SimTask } from './disk.ts'
import { SimPieces } from './pieces.ts'
import type { Inhabitant, World } from './world.ts'

/** What is asked of a process. */
export interface Want {
  readonly range: Range | undefined
  readonly backToSource: 'allow' | 'never'
  readonly needBackToSource: boolean
}

/** The task, which is complete or comes. */
export interface Opened {
  readonly task: SimTask
  readonly share: Share | undefined
  /** When the run began that brings it. */
  readonly since: number
}

interface Active {
  readonly run: Run
  readonly task: SimTask
  readonly backToSource: 'allow' | 'never'
  readonly since: number
}

/**
 * One process of a peer: the real client, announcements and runs, put together as `peer/tasks.ts` and `peer/assemble.ts` do it, over a simulated
 * network and disk.
 */
export class Process {
  readonly client: SchedulerClient
  readonly pieces: SimPieces
  readonly services: Transport
  readonly #world: World
  readonly #peer: Inhabitant
  readonly #life = new AbortController()
  readonly #announcements: Announcements
  readonly #lock = new KeyedLock()
  #task: SimTask | undefined
  #active: Active | undefined
  readonly #current: Current

  constructor(world: World, peer: Inhabitant) {
    this.#world = world
    this.#peer = peer
    const { name } = peer.plan
    const { network, clock } = world
    this.#task = peer.disk.load(this.#life.signal)
    this.client = new SchedulerClient({
      addresses: world.schedulerAddresses,
      open: (address) => {
        const { node, serve } = world.schedulerAt(address)
        return new SimChannel({ network, from: name, to: node.name, address, serve })
      },
      host: () => ({ ...peer.address, id: name, hostname: name, seed: peer.plan.seed }),
      clock,
      random: world.dice.random,
      onFound: (address) => this.#announcements.found(address),
      onRing: () => this.#announcements.all(),
    })
    const busy = (): boolean => this.#active !== undefined
    this.#current = new Current({ scheduler: this.client, lock: this.#lock, busy })
    this.#announcements = new Announcements({
      scheduler: this.client,
      stores: [
        {
          get: () => this.#task,
          list: () => (this.#task === undefined ? [] : [this.#task]),
        } as Partial<Store> as Store,
      ],
      newPeerId: () => peer.newId(),
      clock,
      lifetime: this.#life.signal,
    })
    this.pieces = new SimPieces(network, name, world.scenario.network.parts, (other) =>
      world.peer(other),
    )
    this.services = createRouterTransport((router) => {
      router.service(DfdaemonUpload, {
        downloadTask: ({ download }) =>
          this.#trigger(download?.needBackToSource ?? false, download?.range),
      })
    })
    // The next tries are made by themselves.
    this.client.announceHost(this.#life.signal).catch(() => undefined)
  }

  get life(): AbortSignal {
    return this.#life.signal
  }

  get task(): SimTask | undefined {
    return this.#task
  }

  /** End of the run that fetches the task; undefined when there is none. */
  get ending(): Promise<void> | undefined {
    return this.#active?.run.ended
  }

  /** As `Tasks.meet()`. */
  meet(peerId: string): void {
    this.#active?.run.meet(peerId)
  }

  explain(): unknown {
    return { run: this.#active?.run.explain(), client: this.client.explain() }
  }

  /** As `Tasks.open()`. @throws PeerError */
  async open(want: Want, signal: AbortSignal): Promise<Opened> {
    for (;;) {
      const stat = want.backToSource === 'never' ? undefined : await this.#stat(signal)
      const opened = await this.#lock.run(this.#world.spec.id, signal, () =>
        this.#openLocked(want, stat, signal),
      )
      if (opened !== undefined) return opened
      if (this.#active !== undefined) await abortable(this.#active.run.ended, signal)
    }
  }

  /** Ends everything at once, as the death of the process does. */
  kill(reason: unknown): void {
    this.#life.abort(reason)
    this.#active?.run.cancel(reason)
    this.client.close()
  }

  /** Ends in order: the schedulers are told. */
  async leave(): Promise<void> {
    const reason = new PeerError('CLOSED', 'The peer closes', { what: 'peer' })
    const active = this.#active
    active?.run.cancel(reason)
    await active?.run.ended
    try {
      await this.client.deleteHost(this.#life.signal)
    } catch (error) {
      // It may be killed while it takes its leave.
      if (!this.#life.signal.aborted) throw error
    }
    await this.#announcements.close()
    this.kill(reason)
  }

  async #openLocked(
    want: Want,
    stat: OriginStat | undefined,
    signal: AbortSignal,
  ): Promise<Opened | undefined> {
    await this.#dropOld(stat)
    const active = this.#active
    if (active?.run.open) {
      if (!serves(active, want)) return undefined
      checkRange(want.range, active.task.geometry)
      const { task, since } = active
      return { task, share: active.run.join(want.range), since }
    }
    if (active !== undefined) await abortable(active.run.ended, signal)
    const task = this.#task
    if (task !== undefined && (await this.#current.usable(this.#kept(task), stat))) {
      return this.#resume(want, stat, task)
    }
    const cut = await this.#cut(stat, signal)
    checkRange(want.range, cut)
    this.#life.signal.throwIfAborted()
    const record = recordOf(this.#world.spec, this.#world.clock.date(), stat)
    this.#task = this.#peer.disk.create(record, cut, this.#life.signal)
    this.#world.judge.onTask(this.#task)
    return this.#resume(want, stat, this.#task)
  }

  #resume(want: Want, stat: OriginStat | undefined, task: SimTask): Opened {
    checkRange(want.range, task.geometry)
    const { clock, dice, spec } = this.#world
    const since = clock.now()
    if (task.complete) return { task, share: undefined, since }
    const validator = stat?.validator ?? task.record.validator
    const version = versionOf(task.record)
    const { name, concurrency } = this.#peer.plan
    const run = new Run(
      spec,
      task,
      {
        concurrency,
        backToSource: want.backToSource,
        needBackToSource: want.needBackToSource,
        originRanges: stat?.ranges ?? true,
        originAsked: stat !== undefined,
        avoid: this.#current.avoided(spec.id),
        ...(validator === undefined ? {} : { validator }),
        ...(version === undefined || validator !== undefined ? {} : { version }),
      },
      {
        announcer: this.client,
        feed: this.pieces,
        reader: this.pieces,
        origin: this.#world.origin.seenBy(name),
        clock,
        random: dice.random,
        newPeerId: () => this.#announcements.newName(task),
        keepVersion: (token) => task.update({ version: token }),
      },
    )
    const active: Active = { run, task, backToSource: want.backToSource, since }
    this.#announcements.watch(task)
    // An origin that gives no parts sends all of it for whatever is missing.
    const parts = this.#world.scenario.origin.ranges
    this.#world.onRun(missingBytes(task.geometry, (number) => parts && task.has(number)))
    const share = run.join(want.range)
    this.#active = active
    const release = task.hold()
    this.#world.ending(run.ended)
    void run.ended.then(() => {
      release()
      if (this.#active === active) this.#active = undefined
      // The scheduler was lost on the way and does not know that this host has it all now.
      if (task.complete && !run.told) void this.#announcements.announce(task)
      void this.#current.afterRun(run, this.#kept(task))
    })
    return { task, share, since }
  }

  /** The task as it lies in a store. */
  #kept(task: SimTask): Parameters<Current['usable']>[0] {
    const store = {
      get: () => this.#task,
      delete: () => {
        this.#forget(task)
        return Promise.resolve(true)
      },
    }
    return { task, store }
  }

  #forget(task: SimTask): void {
    task.forget()
    if (this.#task === task) this.#task = undefined
  }

  async #dropOld(stat: OriginStat | undefined): Promise<void> {
    const task = this.#task
    if (task === undefined || stat === undefined) return
    const change = changed(task, stat)
    if (change === undefined) return
    const active = this.#active
    const error = new PeerError('ORIGIN_CHANGED', 'The content changed', { url: '', ...change })
    active?.run.cancel(error)
    await active?.run.ended
    this.#forget(task)
  }

  async #stat(signal: AbortSignal): Promise<OriginStat | undefined> {
    try {
      return await this.#world.origin.seenBy(this.#peer.plan.name).stat(signal)
    } catch (error) {
      if (!PeerError.is(error, 'ORIGIN_UNREACHABLE', 'ORIGIN_UNAVAILABLE')) throw error
      if (this.#task !== undefined) return undefined
      const known = await this.client.statTask(this.#world.spec.id, signal)
      if (known?.geometry === undefined) throw error
      return undefined
    }
  }

  async #cut(stat: OriginStat | undefined, signal: AbortSignal): Promise<Geometry> {
    const { spec, scenario } = this.#world
    if (stat?.length !== undefined) return geometry(stat.length, scenario.pieceLength)
    const known = await this.client.statTask(spec.id, signal)
    if (known?.geometry !== undefined) return known.geometry
    throw new PeerError('TASK_NOT_FOUND', 'Nobody knows the length', { task: spec.id })
  }

  /** As `Trigger.download()`: the download goes on when the caller goes away. */
  async *#trigger(
    needBackToSource: boolean,
    wanted: { readonly start: bigint; readonly length: bigint } | undefined,
  ): AsyncGenerator<Record<string, never>, void, undefined> {
    const range =
      wanted === undefined
        ? undefined
        : { start: Number(wanted.start), length: Number(wanted.length) }
    try {
      const want = { range, backToSource: 'allow', needBackToSource } as const
      const { share } = await this.open(want, this.#life.signal)
      await share?.done
      yield* []
    } catch (error) {
      throw new ConnectError(String(error), Code.Internal)
    }
  }
}

/** What the origin of a task is called, and the rest that belongs to its identity. */
export function specOf(id: string, url: string, pieceLength: number): TaskSpec {
  return {
    id,
    kind: 'standard',
    url,
    filteredQueryParams: [],
    headers: {},
    priority: 6,
    pieceLength,
  }
}

function serves(active: Active, want: Want): boolean {
  return active.backToSource === want.backToSource
}

function checkRange(range: Range | undefined, cut: Geometry): void {
  if (range === undefined || range.start < cut.contentLength) return
  const details = { ...range, contentLength: cut.contentLength }
  throw new PeerError('RANGE_NOT_SATISFIABLE', 'The range starts past the content', details)
}

import { setImmediate } from 'node:timers/promises'
import { PeerError } from '../errors.ts'
import { redactUrl } from '../source/redact.ts'
import type { KeptTask, Store } from '../storage/store.ts'
import type { Geometry, Range } from '../task/piece.ts'
import type { Origin, OriginStat, TaskSpec } from '../task/ports.ts'
import { Run } from '../task/run.ts'
import type { Share } from '../task/share.ts'
import { KeyedLock } from '../util/keyed-lock.ts'
import { abortable } from '../util/scope.ts'
import { SharedWork } from '../util/shared-work.ts'
import { changed, Current } from './current.ts'
import { checkedCut } from './cut.ts'
import { bytesIn, checkRange, cutTo } from './fitting.ts'
import { limitedSink } from './limited.ts'
import type { Live } from './live.ts'
import { lookUp } from './look-up.ts'
import type { DownloadLimits } from './options.ts'
import { recordOf, versionOf } from './record.ts'
import { RunLimits } from './run-limits.ts'
import { learnFromParents, spoolOrLearn } from './spool.ts'
import type { World } from './world.ts'

/** What one download wants of a task. */
export interface Want {
  readonly spec: TaskSpec
  readonly lookup: boolean
  readonly range: Range | undefined
  readonly backToSource: 'allow' | 'never'
  /** The scheduler ordered it: go to the origin. */
  readonly needBackToSource: boolean
  readonly place: Place
  /** Undefined: none of its own. */
  readonly limits?: Live<DownloadLimits>
  /** This copy of a written file is kept until its time is over; the scheduler is told so. */
  readonly persistent?: boolean
}

/** Where new content shall lie. Content that lies somewhere already stays there. */
export type Place =
  | { readonly is: 'store' }
  | {
      readonly is: 'memory'
      readonly into?: Uint8Array
      readonly shared: boolean
      readonly weak: boolean
    }

/** A task that lies, or comes to lie, in one of the stores. */
export interface Opened {
  readonly spec: TaskSpec
  readonly task: KeptTask
  readonly store: Store
  /** Undefined when every wanted piece is here. */
  readonly share: Share | undefined
  /** The scheduler was told that this copy is kept. */
  readonly persistent?: boolean
}

interface Active {
  readonly run: Run
  readonly limits: RunLimits
  readonly task: KeptTask
  readonly store: Store
  readonly backToSource: 'allow' | 'never'
  readonly persistent: boolean
}

/**
 * Every task of this peer by id: who asks for one that is being fetched joins its run; who asks for one that is kept gets it; else a run begins.
 *
 * One owner per fact: the stores know what is kept, a run knows what is coming, this class knows which runs there are.
 */
export class Tasks {
  readonly #world: World
  readonly #active = new Map<string, Active>()
  /** Tasks whose memory belongs to the application once they are complete. */
  readonly #lent = new WeakSet<KeptTask>()
  /** Tasks that several downloads share, or have shared. */
  readonly #joined = new WeakSet<KeptTask>()
  readonly #lock = new KeyedLock()
  readonly #stats = new SharedWork<OriginStat>()
  readonly #current: Current

  constructor(world: World) {
    this.#world = world
    const busy = (taskId: string): boolean => this.#active.has(taskId)
    this.#current = new Current({ scheduler: world.scheduler, lock: this.#lock, busy })
  }

  /** Runs under way, for `explain()`. */
  explain(): unknown[] {
    return [...this.#active.values()].map(({ run, store }) => ({
      ...(run.explain() as object),
      store: store.name,
    }))
  }

  /** Resolves when the run of this task ends; undefined when there is none. */
  ending(taskId: string): Promise<void> | undefined {
    return this.#active.get(taskId)?.run.ended
  }

  /** A child asks for pieces of this task: what is missing here may lie there. */
  meet(taskId: string, peerId: string): void {
    this.#active.get(taskId)?.run.meet(peerId)
  }

  /** The kept task and its store, if any. */
  find(taskId: string): { readonly task: KeptTask; readonly store: Store } | undefined {
    for (const store of this.#world.stores) {
      const task = store.get(taskId)
      if (task !== undefined) return { task, store }
    }
    return undefined
  }

  /** Forgets a task, unless it is being fetched now. */
  async drop(taskId: string, signal: AbortSignal): Promise<'dropped' | 'unknown' | 'busy'> {
    return this.#lock.run(taskId, signal, async () => {
      if (this.#active.has(taskId)) return 'busy'
      let dropped = false
      for (const store of this.#world.stores) dropped = (await store.delete(taskId)) || dropped
      return dropped ? 'dropped' : 'unknown'
    })
  }

  /** Resolves when no run is left. */
  async idle(): Promise<void> {
    while (this.#active.size > 0) {
      await Promise.all([...this.#active.values()].map(({ run }) => run.ended))
    }
  }

  /** Ends every run with this reason. */
  destroy(reason: unknown): void {
    for (const { run } of this.#active.values()) run.cancel(reason)
  }

  /**
   * Makes the task come: the returned share, if any, tells how far it is. The caller leaves the share.
   *
   * @throws PeerError the ORIGIN_ codes, TASK_NOT_FOUND, NO_PARENTS, NO_SPACE, TOO_LARGE, RANGE_NOT_SATISFIABLE, STORE_FAILED
   */
  async open(want: Want, signal: AbortSignal): Promise<Opened> {
    for (;;) {
      const found = want.lookup
        ? await lookUp(this.#world, this.find(want.spec.id)?.task, want.spec, signal)
        : undefined
      const spec = found?.spec ?? want.spec
      const origin = this.#origin(spec)
      const stat =
        origin === undefined || want.backToSource === 'never'
          ? undefined
          : await this.#stat(spec, origin, signal)
      const opened = await this.#lock.run(spec.id, signal, () =>
        this.#openLocked({ ...want, spec }, origin, stat, found?.cut, signal),
      )
      if (opened !== undefined) return opened
      // Waited for outside of the lock, so that others can join that run meanwhile. What the origin said before may be long out of date then.
      const other = this.#active.get(spec.id)
      if (other !== undefined) await abortable(other.run.ended, signal)
    }
  }

  /** Under the lock of the task: nobody else makes or drops it meanwhile. Undefined while there is a run that this download cannot join. */
  async #openLocked(
    want: Want,
    origin: Origin | undefined,
    stat: OriginStat | undefined,
    told: Geometry | undefined,
    signal: AbortSignal,
  ): Promise<Opened | undefined> {
    const { spec } = want
    await this.#dropOld(spec, stat)
    const active = this.#active.get(spec.id)
    if (active?.run.open) {
      if (!serves(active, want)) return undefined
      checkRange(want.range, active.task.geometry)
      this.#joined.add(active.task)
      const { run, task, store, persistent } = active
      const share = run.join(want.range)
      active.limits.joinFor(share, want.limits)
      return { spec, task, store, persistent, share }
    }
    if (active !== undefined) await abortable(active.run.ended, signal)
    const kept = await this.#intact(this.find(spec.id), signal)
    if (kept !== undefined && (await this.#current.usable(kept, stat)))
      return this.#resume(want, origin, stat, kept)
    const cut = told ?? (await this.#cut(spec, stat, signal))
    if (cut !== undefined) return this.#begin(want, origin, stat, cut)
    if (origin === undefined || stat === undefined) {
      return this.#begin(want, origin, stat, await learnFromParents(this.#world, spec, signal))
    }
    const met = await spoolOrLearn(this.#world, want, origin, stat, signal)
    if ('cut' in met) return this.#begin(want, origin, stat, met.cut)
    checkRange(want.range, met.task.geometry)
    return { spec, task: met.task, store: this.#world.store, share: undefined }
  }

  /** Content that is not what the origin has now is dropped; a run that fetches it fails. */
  async #dropOld(spec: TaskSpec, stat: OriginStat | undefined): Promise<void> {
    const kept = this.find(spec.id)
    if (kept === undefined || stat === undefined) return
    const change = changed(kept.task, stat)
    if (change === undefined) return
    const error = new PeerError('ORIGIN_CHANGED', 'The content changed at the origin', {
      url: spec.url === undefined ? '' : redactUrl(spec.url),
      ...change,
    })
    const active = this.#active.get(spec.id)
    active?.run.cancel(error)
    await active?.run.ended
    await kept.store.delete(spec.id)
  }

  /**
   * Memory that the application has in hand may have been written to. Then it is the application's alone, and the content is taken from elsewhere.
   */
  async #intact(
    kept: { readonly task: KeptTask; readonly store: Store } | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly task: KeptTask; readonly store: Store } | undefined> {
    const { memory } = this.#world
    if (kept === undefined || kept.store !== memory) return kept
    const { id, kind } = kept.task.record
    if (!kept.task.complete) {
      // Nobody fetches it: what is missing was damaged. Memory that belongs to the application is not written to a second time.
      if (!this.#lent.has(kept.task)) return kept
      await memory.delete(id)
      return this.find(id)
    }
    const release = kept.task.hold()
    try {
      for (let number = 0; number < kept.task.geometry.pieceCount; number++) {
        const piece = await memory.open({ taskId: id, kind, number }, signal)
        piece.close()
        // Each may have been summed up again: long content must not hold up the event loop.
        await setImmediate()
      }
      return kept
    } catch (error) {
      if (!PeerError.is(error, 'STORE_CORRUPT', 'TASK_NOT_FOUND')) throw error
      if (memory.get(id) === kept.task) await memory.delete(id)
      return this.find(id)
    } finally {
      release()
    }
  }

  #resume(
    want: Want,
    origin: Origin | undefined,
    stat: OriginStat | undefined,
    { task, store }: { readonly task: KeptTask; readonly store: Store },
  ): Opened {
    const { spec, range } = want
    checkRange(range, task.geometry)
    if (task.complete) return { spec, task, store, share: undefined }
    const validator = stat?.validator ?? task.record.validator
    const version = versionOf(task.record)
    const newPeerId = (): string => this.#world.announcements.newName(task)
    const limits = new RunLimits(this.#world)
    const { concurrency, parentsTimeoutMs, pieceTimeoutMs } = this.#world.limits.now
    const run = new Run(
      spec,
      limitedSink(task, limits.pace),
      {
        concurrency: want.limits?.now.concurrency ?? concurrency,
        backToSource: want.backToSource,
        needBackToSource: want.needBackToSource,
        persistent: want.persistent === true,
        parentsTimeoutMs,
        pieceTimeoutMs,
        originRanges: stat?.ranges ?? true,
        originAsked: stat !== undefined,
        avoid: this.#current.avoided(spec.id),
        ...(validator === undefined ? {} : { validator }),
        ...(version === undefined || validator !== undefined ? {} : { version }),
      },
      {
        ...this.#world.ports,
        newPeerId,
        keepVersion: (token) => task.update({ version: token }),
        ...(origin === undefined ? {} : { origin }),
      },
    )
    const { backToSource, persistent = false } = want
    const active: Active = { run, limits, task, store, backToSource, persistent }
    this.#world.announcements.watch(task)
    limits.rule(run)
    const share = run.join(range)
    limits.joinFor(share, want.limits)
    this.#active.set(spec.id, active)
    const release = task.hold()
    void run.ended.then(() => {
      release()
      if (this.#active.get(spec.id) === active) this.#active.delete(spec.id)
      // The scheduler was lost on the way and does not know that this host has it all now.
      if (task.complete && !run.told) void this.#world.announcements.announce(task)
      void this.#current.afterRun(run, active)
    })
    return { spec, task, store, share, persistent }
  }

  async #begin(
    want: Want,
    origin: Origin | undefined,
    stat: OriginStat | undefined,
    cut: Geometry,
  ): Promise<Opened> {
    checkRange(want.range, cut)
    const made = await this.#create(want, cut, stat)
    const opened = this.#resume(want, origin, stat, made)
    if (want.place.is === 'memory' && want.place.weak) {
      this.#lent.add(made.task)
      this.#dropUnfinished(made)
    }
    return opened
  }

  /** Memory that was taken for one download is given back at once when that does not complete it. */
  #dropUnfinished({ store, task }: { readonly store: Store; readonly task: KeptTask }): void {
    void this.ending(task.record.id)?.then(async () => {
      // Another download may still read its part: then collection drops it.
      if (this.#joined.has(task)) return
      if (!task.complete && store.get(task.record.id) === task) await store.delete(task.record.id)
    })
  }

  async #create(
    want: Want,
    cut: Geometry,
    stat: OriginStat | undefined,
  ): Promise<{ readonly store: Store; readonly task: KeptTask }> {
    const { place, spec } = want
    const record = recordOf(spec, this.#world.clock.date(), stat)
    // A part of huge content must not ask for room for all of it.
    const room = want.range === undefined ? {} : { bytesWanted: bytesIn(cut, want.range) }
    if (place.is === 'store') {
      return { store: this.#world.store, task: await this.#world.store.create(record, cut, room) }
    }
    const into = place.into === undefined ? undefined : cutTo(place.into, cut.contentLength)
    const task = await this.#world.memory.create(record, cut, {
      shared: place.shared,
      weak: place.weak,
      ...(into === undefined ? {} : { memory: into }),
    })
    return { store: this.#world.memory, task }
  }

  async #cut(
    spec: TaskSpec,
    stat: OriginStat | undefined,
    signal: AbortSignal,
  ): Promise<Geometry | undefined> {
    if (stat?.length !== undefined) return checkedCut(stat.length, spec.pieceLength)
    const known = await this.#world.scheduler.statTask(spec.id, signal)
    if (known !== undefined) return known.geometry
    return undefined
  }

  #origin(spec: TaskSpec): Origin | undefined {
    if (spec.url === undefined) return undefined
    return this.#world.sources.bind({ url: spec.url, headers: spec.headers })
  }

  /** What the origin has. Asked once for all who ask at the same time with the same headers. */
  async #stat(
    spec: TaskSpec,
    origin: Origin,
    signal: AbortSignal,
  ): Promise<OriginStat | undefined> {
    const key = `${spec.id} ${JSON.stringify(Object.entries(spec.headers).sort())}`
    try {
      return await this.#stats.run(key, signal, (shared) => origin.stat(shared))
    } catch (error) {
      // An origin that is down says nothing about the content: who has it may still give it.
      if (!PeerError.is(error, 'ORIGIN_UNREACHABLE', 'ORIGIN_UNAVAILABLE')) throw error
      if (this.find(spec.id) !== undefined) return undefined
      const known = await this.#world.scheduler.statTask(spec.id, signal)
      if (known?.geometry === undefined) throw error
      return undefined
    }
  }
}

/**
 * Whether a run is one that this download can join. One that may not use the origin does not serve one that may; and `never` is a guarantee that must
 * outlive everybody else who wanted the run, so such a download comes after it and uses what it kept.
 */
function serves(active: Active, want: Want): boolean {
  if (active.backToSource === want.backToSource) return true
  return want.backToSource === 'never' && want.spec.url === undefined
}

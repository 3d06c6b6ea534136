import { PeerError } from '../errors.ts'
import type { SchedulerClient } from '../scheduler/client.ts'
import type { KeptTask, Store, TaskRecord } from '../storage/store.ts'
import { numbersIn, type Range } from '../task/piece.ts'
import type { TaskSpec } from '../task/ports.ts'
import type { Clock } from '../util/clock.ts'
import { abortable } from '../util/scope.ts'
import { writeTtlMsMax, writeTtlMsMin } from './download-settings.ts'
import { specOf } from './record.ts'
import { Retractions } from './retractions.ts'

/** Tasks that are announced at the same time: a scheduler that has just come back is not flooded. */
export const announcementsAtOnce: number = 4

/** What is announced, and as what. */
export interface AnnouncementParts {
  readonly scheduler: SchedulerClient
  readonly stores: readonly Store[]
  readonly newPeerId: () => string
  readonly clock: Clock
  readonly lifetime: AbortSignal
}

/**
 * Tells the scheduler what lies here: each task when it is complete, all of them when a scheduler is found or has forgotten them, and each one that is dropped.
 */
export class Announcements {
  readonly #parts: AnnouncementParts
  /** What ends the watching. */
  readonly #watched = new Map<KeptTask, () => void>()
  /** Under which peer id the scheduler knows a written file here. One for each task, as many as are kept. */
  readonly #names = new Map<string, string>()
  /** Which scheduler was told of a task. */
  readonly #told = new Map<string, string>()
  readonly #retractions = new Retractions((taskId) => this.#retract(taskId))
  #round: Promise<void> | undefined
  #again = false
  #closed = false

  constructor(parts: AnnouncementParts) {
    this.#parts = parts
  }

  /**
   * Makes a task known, and watches for its end. One that is dropped meanwhile is made unknown again. Never throws: when nobody can be told, the next round tells.
   *
   * @param range - when the task is not complete: what of it lies here
   */
  async announce(task: KeptTask, range?: Range): Promise<void> {
    const { scheduler, lifetime } = this.#parts
    const spec = this.#specOf(task.record)
    // Its time is over: collection drops it. Or it was dropped, or damaged, before its turn came.
    if (spec === undefined || !this.#lies(task) || !holds(task, range)) return
    this.watch(task)
    const part = task.complete || range === undefined ? {} : { range }
    const held = { peerId: this.#nameOf(task), spec, geometry: task.geometry, ...part }
    const owner = scheduler.ownerOf(spec.id)
    let told = false
    try {
      await scheduler.announceHeld(held, lifetime)
      told = true
    } catch (error) {
      if (!expected(error) && !lifetime.aborted) throw error
    }
    // The scheduler may have heard it after it heard of the end, and without an answer too.
    if (!this.#lies(task)) return this.#gone(task)
    // The end may have been announced, and then put off.
    this.watch(task)
    if (told && part.range === undefined) this.#note(task, owner)
  }

  /** A written file is made known, with the number of copies that the network shall keep. @throws PeerError SCHEDULER_UNAVAILABLE, SCHEDULER_REFUSED */
  async publish(task: KeptTask, replicas: number, signal: AbortSignal): Promise<void> {
    this.watch(task)
    const spec = this.#specOf(task.record) ?? specOf(task.record)
    const upload = { peerId: this.#nameOf(task), spec, geometry: task.geometry, replicas }
    const owner = this.#parts.scheduler.ownerOf(spec.id)
    await this.#parts.scheduler.importTask(upload, signal)
    this.#note(task, owner)
  }

  /** A peer id for the next registration of this task: the scheduler knows the copy by the latest one. */
  newName(task: KeptTask): string {
    // Who is registered as one that gets it is known as one that has it.
    this.#note(task, this.#parts.scheduler.ownerOf(task.record.id))
    return this.#name(task)
  }

  /** From now on the scheduler is told when the task is dropped. */
  watch(task: KeptTask): void {
    if (this.#watched.has(task) || !this.#lies(task)) return
    const stop = task.onKept((number) => {
      if (number !== undefined) return
      this.#forget(task)
      this.#gone(task)
    })
    this.#watched.set(task, stop)
  }

  /**
   * Content is about to be asked for of which nothing lies here: what waits to be said of its last end is said first, so that it does not end the new
   * registration. Rejects with the reason of the signal alone.
   */
  async settle(taskId: string, signal: AbortSignal): Promise<void> {
    if (this.#retractions.remove(taskId)) await abortable(this.#retract(taskId), signal)
  }

  /**
   * The task is about to be dropped by order: the scheduler is told now, and sends nobody here any more when this resolves. One that cannot be told learns it
   * from the first child that finds nothing here.
   */
  async withdraw(task: KeptTask, signal: AbortSignal): Promise<void> {
    const { id, kind } = task.record
    const { scheduler } = this.#parts
    const peerId = this.#names.get(id)
    this.#forget(task)
    try {
      if (kind === 'standard') await scheduler.deleteTask(id, signal)
      else if (peerId !== undefined) await scheduler.deletePersistentCachePeer(id, peerId, signal)
    } catch (error) {
      if (!expected(error)) throw error
    }
  }

  /** This scheduler may know nothing of what lies here. */
  found(address: string): void {
    for (const [id, told] of this.#told) if (told === address) this.#told.delete(id)
    this.all()
  }

  /** Makes everything known that lies here completely, to the schedulers that own it now and were not told. One round at a time; asked for again meanwhile, one more follows. */
  all(): void {
    if (this.#closed) return
    if (this.#round !== undefined) {
      this.#again = true
      return
    }
    this.#round = this.#announceAll().finally(() => {
      this.#round = undefined
      if (!this.#again) return
      this.#again = false
      this.all()
    })
  }

  /** Ends the round that runs after what is being announced now, and begins no other: whoever takes its leave has nothing to announce, and nothing to take back. */
  async close(): Promise<void> {
    this.#closed = true
    this.#retractions.clear()
    while (this.#round !== undefined) await this.#round
  }

  async #announceAll(): Promise<void> {
    const tasks = this.#parts.stores.flatMap((store) => store.list())
    const complete = tasks.filter((task) => task.complete && task.geometry.contentLength > 0)
    const next = async (): Promise<void> => {
      for (let task = complete.pop(); task !== undefined; task = complete.pop()) {
        if (this.#closed || this.#parts.lifetime.aborted) return
        const { id } = task.record
        const owner = this.#parts.scheduler.ownerOf(id)
        if (owner === undefined || this.#told.get(id) !== owner) await this.announce(task)
      }
    }
    await Promise.all(Array.from({ length: announcementsAtOnce }, next))
  }

  /**
   * A scheduler with a memory of its own counts a written file's copies by peer ids, so that one copy keeps its id. Of a download it never knows one twice:
   * it would keep the old state.
   */
  #nameOf(task: KeptTask): string {
    return this.#names.get(task.record.id) ?? this.#name(task)
  }

  #name(task: KeptTask): string {
    const peerId = this.#parts.newPeerId()
    if (task.record.kind !== 'standard') this.#names.set(task.record.id, peerId)
    return peerId
  }

  /** As it is now: of the time to live only what is left, within what schedulers accept. Undefined when none is left. */
  #specOf(record: TaskRecord): TaskSpec | undefined {
    const spec = specOf(record)
    if (spec.kind === 'standard' || spec.ttlMs === undefined) return spec
    const leftMs = record.createdAt + spec.ttlMs - this.#parts.clock.date()
    if (leftMs <= 0) return undefined
    // In whole seconds, as schedulers count it: what was written just now has its whole life before it.
    const ttlMs = Math.ceil(leftMs / 1000) * 1000
    return { ...spec, ttlMs: Math.min(Math.max(ttlMs, writeTtlMsMin), writeTtlMsMax) }
  }

  #note(task: KeptTask, owner: string | undefined): void {
    if (owner !== undefined && this.#watched.has(task)) this.#told.set(task.record.id, owner)
  }

  #forget(task: KeptTask): void {
    const { id } = task.record
    this.#watched.get(task)?.()
    this.#watched.delete(task)
    this.#names.delete(id)
    this.#told.delete(id)
  }

  /** This task is dropped. A written file is kept for the network by others too: only the standard kind is this host's alone to give up. */
  #gone({ record: { id, kind } }: KeptTask): void {
    if (kind === 'standard' && !this.#closed) this.#retractions.add(id)
  }

  /**
   * Whoever cannot be told now learns it from the first child that finds nothing here. The scheduler forgets everything that this host has to do with the content: it is
   * not told while the same content lies here again or is being fetched, and what is complete by the time it has heard it is made known anew.
   */
  async #retract(taskId: string): Promise<void> {
    const { lifetime, scheduler } = this.#parts
    if (this.#closed || lifetime.aborted || this.#lying(taskId).length > 0) return
    await scheduler.deleteTask(taskId, lifetime).catch(() => undefined)
    const again = this.#lying(taskId).find(({ complete }) => complete)
    if (again !== undefined && !this.#closed) await this.announce(again)
  }

  /** What lies in the stores under this id, complete or not. */
  #lying(id: string): readonly KeptTask[] {
    return this.#parts.stores.flatMap((store) => store.get(id) ?? [])
  }

  #lies(task: KeptTask): boolean {
    return this.#lying(task.record.id).includes(task)
  }
}

/** Whether all of the task, or of this part of it, lies here. */
export function holds(task: KeptTask, range: Range | undefined): boolean {
  if (task.complete) return true
  if (range === undefined || range.start >= task.geometry.contentLength) return false
  return numbersIn(task.geometry, range).every((number) => task.has(number))
}

function expected(error: unknown): boolean {
  return PeerError.is(error, 'SCHEDULER_UNAVAILABLE', 'SCHEDULER_REFUSED', 'CLOSED')
}

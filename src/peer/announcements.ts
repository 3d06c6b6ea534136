import { PeerError } from '../errors.ts'
import type { SchedulerClient } from '../scheduler/client.ts'
import type { KeptTask, Store } from '../storage/store.ts'
import { specOf } from './record.ts'

/** Tasks that are announced at the same time: a scheduler that has just come back is not flooded. */
export const announcementsAtOnce: number = 4

/** What is announced, and as what. */
export interface AnnouncementParts {
  readonly scheduler: SchedulerClient
  readonly stores: readonly Store[]
  readonly newPeerId: () => string
  readonly lifetime: AbortSignal
}

/**
 * Tells the scheduler what lies here: each task when it is complete, all of them when a scheduler is found or has forgotten them, and each one that is dropped.
 */
export class Announcements {
  readonly #parts: AnnouncementParts
  readonly #watched = new Set<string>()
  #round: Promise<void> | undefined
  #again = false

  constructor(parts: AnnouncementParts) {
    this.#parts = parts
  }

  /** Makes a complete task known, and watches for its end. Never throws: when nobody can be told, the next round tells. */
  async announce(task: KeptTask): Promise<void> {
    this.watch(task)
    const { scheduler, newPeerId, lifetime } = this.#parts
    const held = { peerId: newPeerId(), spec: specOf(task.record), geometry: task.geometry }
    try {
      await scheduler.announceHeld(held, lifetime)
    } catch (error) {
      if (!expected(error) && !lifetime.aborted) throw error
    }
  }

  /** A written file is made known, with the number of copies that the network shall keep. @throws PeerError SCHEDULER_UNAVAILABLE, SCHEDULER_REFUSED */
  async publish(task: KeptTask, replicas: number, signal: AbortSignal): Promise<void> {
    this.watch(task)
    const { scheduler, newPeerId } = this.#parts
    const upload = {
      peerId: newPeerId(),
      spec: specOf(task.record),
      geometry: task.geometry,
      replicas,
    }
    const how = await scheduler.uploadPersistentCacheTaskStarted(upload, signal)
    if (how === 'started') await scheduler.uploadPersistentCacheTaskFinished(upload, signal)
  }

  /** From now on the scheduler is told when the task is dropped. */
  watch(task: KeptTask): void {
    const { id, kind } = task.record
    if (this.#watched.has(id)) return
    this.#watched.add(id)
    const stop = task.onKept((number) => {
      if (number !== undefined) return
      stop()
      this.#watched.delete(id)
      const { lifetime, scheduler } = this.#parts
      // A written file is kept for the network by others too: only the standard kind is this host's alone to give up.
      if (kind !== 'standard' || lifetime.aborted) return
      // Whoever cannot be told now learns it from the first child that finds nothing here.
      scheduler.deleteTask(id, lifetime).catch(() => undefined)
    })
  }

  /** Makes everything known that lies here completely. One round at a time; asked for again meanwhile, one more follows. */
  all(): void {
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

  /** Resolves when no round runs. */
  async settled(): Promise<void> {
    while (this.#round !== undefined) await this.#round
  }

  async #announceAll(): Promise<void> {
    const tasks = this.#parts.stores.flatMap((store) => store.list())
    const complete = tasks.filter((task) => task.complete && task.geometry.contentLength > 0)
    const next = async (): Promise<void> => {
      for (let task = complete.pop(); task !== undefined; task = complete.pop()) {
        if (this.#parts.lifetime.aborted) return
        await this.announce(task)
      }
    }
    await Promise.all(Array.from({ length: announcementsAtOnce }, next))
  }
}

function expected(error: unknown): boolean {
  return PeerError.is(error, 'SCHEDULER_UNAVAILABLE', 'SCHEDULER_REFUSED', 'CLOSED')
}

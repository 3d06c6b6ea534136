import { type ErrorDetails, PeerError } from '../errors.ts'
import { versionToken } from '../hash/version.ts'
import type { KeptTask, Store } from '../storage/store.ts'
import type { OriginStat } from '../task/ports.ts'
import type { Run } from '../task/run.ts'
import type { KeyedLock } from '../util/keyed-lock.ts'
import { knownCut } from './look-up.ts'
import { specOf, versionOf } from './record.ts'
import type { World } from './world.ts'

/** How what is kept differs from what the origin has now; undefined when nothing speaks against its being the same. */
export function changed(
  { geometry, record }: Pick<KeptTask, 'geometry' | 'record'>,
  stat: OriginStat,
): Omit<ErrorDetails['ORIGIN_CHANGED'], 'url'> | undefined {
  const { contentLength } = geometry
  if (stat.length !== undefined && stat.length !== contentLength) {
    return { what: 'length', expected: String(contentLength), actual: String(stat.length) }
  }
  const kept = versionOf(record)
  if (kept === undefined || stat.validator === undefined) return undefined
  if (kept === versionToken(stat.validator)) return undefined
  const { validator } = record
  if (validator === undefined) return { what: 'version', expected: kept, actual: stat.validator }
  return { what: 'etag', expected: validator, actual: stat.validator }
}

/** Versions of a task that are remembered as incomplete, at most; with one more all are forgotten. */
const avoidedMax = 8
/** Tasks of which such versions are remembered, at most; the oldest is forgotten. */
const avoidingMax = 256

/** A task and where it lies. */
interface Kept {
  readonly task: KeptTask
  readonly store: Pick<Store, 'get' | 'delete'>
}

/** What this needs of the tasks that it belongs to. */
interface CurrentWorld {
  readonly scheduler: Pick<World['scheduler'], 'statTask' | 'statPersistentCacheTask'>
  readonly lock: KeyedLock
  /** Whether the task is being fetched now. */
  readonly busy: (taskId: string) => boolean
}

/** Sees to it that nothing is added to what is kept of a version that is gone. */
export class Current {
  readonly #world: CurrentWorld
  /** Of a version that nobody has any more, or of several. */
  readonly #outdated = new WeakSet<KeptTask>()
  /** By task id: versions of which nobody had the rest. */
  readonly #avoided = new Map<string, Set<string>>()
  /** Questions to the scheduler about tasks that a run could not complete. */
  readonly #asking = new Map<KeptTask, Promise<void>>()

  constructor(world: CurrentWorld) {
    this.#world = world
  }

  /** Versions of which nobody had the rest when they were tried: it is another one's turn. */
  avoided(taskId: string): readonly string[] {
    return [...(this.#avoided.get(taskId) ?? [])]
  }

  /** Whether the rest can be added to what is kept; if not it is dropped. Under the lock of the task, while nobody fetches it. */
  async usable({ task, store }: Kept, stat: OriginStat | undefined): Promise<boolean> {
    await this.#asking.get(task)
    // It may have been fetched since the origin was asked.
    const other = stat !== undefined && changed(task, stat) !== undefined
    if (other || this.#outdated.has(task) || unproven(task, stat)) {
      await store.delete(task.record.id)
      return false
    }
    const { validator } = stat ?? {}
    const unsaid = validator !== undefined && task.record.validator === undefined
    // Nobody can say of which version whole content is that came without one.
    if (unsaid && (!task.complete || versionOf(task.record) !== undefined)) {
      await task.update({ validator })
    }
    return true
  }

  /**
   * A run has ended. One that may not ask the origin and did not get what is missing may have kept a part of a version that nobody has any more, which would stand in
   * the way of what there is now.
   */
  async afterRun(run: Pick<Run, 'outdated'>, { task, store }: Kept): Promise<void> {
    const { id } = task.record
    this.#learn(run, task)
    if (run.outdated === 'no') return
    const { signal } = new AbortController()
    try {
      if (run.outdated === 'yes') this.#outdated.add(task)
      else await this.#ask(task, signal)
      if (!this.#outdated.has(task)) return
      await this.#world.lock.run(id, signal, async () => {
        if (store.get(id) === task && !this.#world.busy(id)) await store.delete(id)
      })
    } catch (error) {
      // Closed meanwhile, or the disk fails: the next download finds it, and tells.
      if (!PeerError.is(error, 'CLOSED', 'STORE_FAILED', 'NO_SPACE')) throw error
    }
  }

  /** Nobody was there: perhaps because all have content of another length. Whoever asks for the task meanwhile waits for the answer. */
  async #ask(task: KeptTask, signal: AbortSignal): Promise<void> {
    const compare = async (): Promise<void> => {
      const known = await knownCut(this.#world, specOf(task.record), signal)
      const { contentLength } = task.geometry
      if (known !== undefined && known.contentLength !== contentLength) this.#outdated.add(task)
    }
    const asked = compare()
    this.#asking.set(task, asked)
    try {
      await asked
    } finally {
      this.#asking.delete(task)
    }
  }

  /** A version that nobody has the rest of is not tried again before the others were. */
  #learn({ outdated }: Pick<Run, 'outdated'>, task: KeptTask): void {
    const { id } = task.record
    const version = versionOf(task.record)
    const avoided = this.#avoided.get(id) ?? new Set()
    this.#avoided.delete(id)
    if (outdated !== 'yes' || version === undefined || avoided.size >= avoidedMax) return
    this.#avoided.set(id, avoided.add(version))
    const [oldest] = this.#avoided.keys()
    if (this.#avoided.size > avoidingMax && oldest !== undefined) this.#avoided.delete(oldest)
  }
}

/**
 * Whether a part of the content is kept of which nobody can say that it belongs to what the origin has now. The rest would be put together with it. Content that is
 * complete is at least whole.
 */
function unproven(
  { complete, keptCount, record }: KeptTask,
  stat: OriginStat | undefined,
): boolean {
  if (stat?.validator === undefined || versionOf(record) !== undefined) return false
  return keptCount > 0 && !complete
}

import { shortText, u32, u64, wireTime } from '../rpc/convert.ts'
import { cacheTaskFacts } from '../rpc/convert-task.ts'
import type { Geometry } from '../task/piece.ts'
import type { TaskSpec } from '../task/ports.ts'
import type { Asker } from './asker.ts'
import { type KnownCacheTask, knownCacheTask } from './known-task.ts'

/** One import of a persistent cache task. */
export interface CacheUpload {
  readonly peerId: string
  /** Of kind `persistentCache`, with `ttlMs`. */
  readonly spec: TaskSpec
  readonly geometry: Geometry
  /** Copies to keep in the network, this one included. */
  readonly replicas: number
}

/** An import by its name. */
export type CacheUploadName = Pick<CacheUpload, 'peerId' | 'spec'>

/** What kind of life a written file has when nobody chose one: 24 hours, as upstream. */
const ttlDefaultMs = 24 * 60 * 60 * 1000

/** The calls about persistent cache tasks (controlplane 5). */
export class CacheCalls {
  readonly #asker: Asker
  readonly #join: (upload: CacheUpload, signal: AbortSignal) => Promise<void>

  /** @param join - announces this host as one more holder of a task that the scheduler knows */
  constructor(asker: Asker, join: CacheCalls['importTask']) {
    this.#asker = asker
    this.#join = join
  }

  /** See `SchedulerClient.statPersistentCacheTask`. */
  async stat(taskId: string, signal: AbortSignal): Promise<KnownCacheTask | undefined> {
    const request = this.#asker.names(taskId)
    const task = await this.#asker.stat(
      { method: 'StatPersistentCacheTask', taskId },
      (client, options) => client.statPersistentCacheTask(request, options),
      signal,
    )
    return task === undefined ? undefined : knownCacheTask({ ...cacheTaskFacts(task), id: taskId })
  }

  /** See `SchedulerClient.deletePersistentCacheTask`. */
  async delete(taskId: string, signal: AbortSignal): Promise<void> {
    const request = this.#asker.names(taskId)
    await this.#asker.stat(
      { method: 'DeletePersistentCacheTask', taskId },
      (client, options) => client.deletePersistentCacheTask(request, options),
      signal,
    )
  }

  /** See `SchedulerClient.deletePersistentCachePeer`. */
  async deletePeer(taskId: string, peerId: string, signal: AbortSignal): Promise<void> {
    const request = { ...this.#asker.names(taskId), peerId }
    await this.#asker.stat(
      { method: 'DeletePersistentCachePeer', taskId },
      (client, options) => client.deletePersistentCachePeer(request, options),
      signal,
    )
  }

  /**
   * Imports a task, and is content with any state that the scheduler may have it in: a task that has holders gets one more, one that is remembered without
   * any is forgotten there and imported anew. A Go scheduler would refuse both until the time to live is over (controlplane 8, number 19).
   */
  async importTask(upload: CacheUpload, signal: AbortSignal): Promise<void> {
    if ((await this.started(upload, signal)) === 'started') return this.#finish(upload, signal)
    const known = await this.stat(upload.spec.id, signal)
    if (known === undefined || !sameCut(known.geometry, upload.geometry)) return
    if (known.replicas.all > 0) return this.#join(upload, signal)
    await this.delete(upload.spec.id, signal)
    if ((await this.started(upload, signal)) === 'started') await this.#finish(upload, signal)
  }

  /** See `SchedulerClient.uploadPersistentCacheTaskStarted`. */
  async started(upload: CacheUpload, signal: AbortSignal): Promise<'started' | 'exists'> {
    const { spec, geometry } = upload
    const request = {
      ...this.#asker.names(spec.id),
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
    const outcome = await this.#asker.ask(
      { method, taskId: spec.id, needsHost: true },
      (client, options) => client.uploadPersistentCacheTaskStarted(request, options),
      signal,
    )
    const failure = outcome.is === 'failed' ? outcome.failure : undefined
    if (failure?.is === 'refused' && failure.why === 'already-exists') return 'exists'
    this.#asker.result(method, outcome)
    return 'started'
  }

  /** See `SchedulerClient.uploadPersistentCacheTaskFinished`. */
  async finished(upload: CacheUploadName, signal: AbortSignal): Promise<KnownCacheTask> {
    const { id } = upload.spec
    const request = { ...this.#asker.names(id), peerId: upload.peerId }
    const method = 'UploadPersistentCacheTaskFinished'
    const outcome = await this.#asker.ask(
      { method, taskId: id },
      (client, options) => client.uploadPersistentCacheTaskFinished(request, options),
      signal,
    )
    return knownCacheTask({ ...cacheTaskFacts(this.#asker.result(method, outcome)), id })
  }

  /** See `SchedulerClient.uploadPersistentCacheTaskFailed`. */
  async failed(
    upload: CacheUploadName & { readonly reason: string },
    signal: AbortSignal,
  ): Promise<void> {
    const { id } = upload.spec
    const description = shortText(upload.reason)
    const request = { ...this.#asker.names(id), peerId: upload.peerId, description }
    const method = 'UploadPersistentCacheTaskFailed'
    const outcome = await this.#asker.ask(
      { method, taskId: id },
      (client, options) => client.uploadPersistentCacheTaskFailed(request, options),
      signal,
    )
    this.#asker.result(method, outcome)
  }

  /** An import that was begun is not left open: nobody could begin it again until its time to live is over. */
  async #finish(upload: CacheUpload, signal: AbortSignal): Promise<void> {
    try {
      await this.finished(upload, signal)
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'The import failed'
      // What the caller is told is why it failed, not that the scheduler could not be told.
      if (!signal.aborted) await this.failed({ ...upload, reason }, signal).catch(() => undefined)
      throw error
    }
  }
}

/** Of a task whose lengths the scheduler does not tell nothing can be compared. */
function sameCut(known: Geometry | undefined, own: Geometry): boolean {
  if (known === undefined) return true
  return known.contentLength === own.contentLength && known.pieceLength === own.pieceLength
}

import { constants } from 'node:buffer'
import { ReadableStream } from 'node:stream/web'
import { PeerError } from '../errors.ts'
import { output } from '../task/output.ts'
import { numbersIn } from '../task/piece.ts'
import { deferred } from '../util/deferred.ts'
import { flag, refuseUnknown, text } from '../util/settings.ts'
import { Scope } from '../util/scope.ts'
import { changedDownloadLimits, type DownloadSettings } from './download-settings.ts'
import { type ClosingGrace, stoodStill } from './closing-grace.ts'
import { allLocal, infoOf, report, shown } from './download-progress.ts'
import { healed, Healing } from './healing.ts'
import { Live } from './live.ts'
import type { DownloadLimitChange, DownloadLimits, TaskInfo } from './options.ts'
import { outputRange, refuseExisting, wholeOr } from './output-range.ts'
import { allocate, fits, tooLong } from './target-memory.ts'
import type { Opened, Place, Tasks } from './tasks.ts'
import { checkDigest, forgetRotten } from './whole-digest.ts'

/** How a download is put into a file. */
export interface ToFileOptions {
  /** Replace a file that stands there. @defaultValue `false`: OUTPUT_EXISTS */
  readonly overwrite?: boolean
  /**
   * The file will be written to later. Then it is never a hard link to what the peer keeps, but a reflink or a copy.
   * @defaultValue `false`: the file may share its bytes with the peer's store and is read-only then
   */
  readonly writable?: boolean
}

/** What a download needs of its peer. */
export interface DownloadHost {
  /** Fires when the peer is gone. */
  readonly lifetime: AbortSignal
  readonly grace: ClosingGrace
  /** The peer does not close before this has ended. */
  track<T>(work: Promise<T>): Promise<T>
}

/**
 * One download: made by `Peer.download()`, started by the first thing that is done with it. It can be used several times; the content is fetched once.
 *
 * Everything rejects with a `PeerError`, or with `signal.reason` once the download is cancelled.
 */
export class Download implements AsyncIterable<Uint8Array>, AsyncDisposable {
  readonly #tasks: Tasks
  readonly #settings: DownloadSettings
  readonly #limits: Live<DownloadLimits>
  readonly #parents: readonly (AbortSignal | undefined)[]
  readonly #scope = new Scope([])
  readonly #host: DownloadHost
  #opened: Promise<Opened> | undefined
  #done: Promise<TaskInfo> | undefined
  /** What was complete when the download was done. */
  #kept: Opened | undefined

  /** @internal */
  constructor(tasks: Tasks, settings: DownloadSettings, host: DownloadHost) {
    this.#tasks = tasks
    this.#settings = settings
    this.#limits = new Live(settings.limits)
    this.#parents = [host.lifetime, settings.signal]
    this.#host = host
  }

  /** The limits of now. */
  get limits(): DownloadLimits {
    return this.#limits.now
  }

  /**
   * Changes limits of this download, as `Peer.setLimits()` does those of the peer, which hold all the same. Downloads of one task share what is fetched: the one that
   * allows most decides.
   */
  setLimits(change: DownloadLimitChange): void {
    this.#limits.set(changedDownloadLimits(this.#limits.now, change))
  }

  /** Resolves when every wanted piece is kept and, where a digest was given, the content has it. Starts the download into the peer's store. */
  get done(): Promise<TaskInfo> {
    return this.#finish({ is: 'store' })
  }

  /**
   * Puts the content, or the wanted range of it, at a path; its folder must exist. Nothing half-written ever stands there.
   * Costs no copy where the store and the path lie on one file system.
   *
   * @returns what the task is
   * @throws PeerError OUTPUT_EXISTS, PERMISSION_DENIED, NO_SPACE, FILE_NOT_FOUND, and what `done` can throw
   */
  async toFile(path: string, options: ToFileOptions = {}): Promise<TaskInfo> {
    text('path', path)
    refuseUnknown('options', options, ['overwrite', 'writable'])
    const overwrite = flag('options.overwrite', options.overwrite ?? false)
    const writable = flag('options.writable', options.writable ?? false)
    return this.#host.track(this.#toFile(path, overwrite, writable))
  }

  async #toFile(path: string, overwrite: boolean, writable: boolean): Promise<TaskInfo> {
    using _ = this.#attach()
    const { signal } = this.#scope
    signal.throwIfAborted()
    this.#renew()
    if (!overwrite) await refuseExisting(path)
    const put = async (): Promise<TaskInfo> => {
      const info = await this.#finish({ is: 'store' })
      const opened = await this.#open({ is: 'store' })
      const { task } = opened
      const release = task.hold()
      try {
        const { range } = this.#settings
        if (range === undefined) await task.output(path, { overwrite, writable, signal })
        else await outputRange({ path, overwrite, signal }, this.#chunks(opened), opened.store)
      } finally {
        release()
      }
      return info
    }
    return await healed(put, () => this.#forget())
  }

  /**
   * The content, or the wanted range of it, in one allocation: the pieces are read straight into it. The array may be what this peer serves others from, and what
   * other calls for the same content get: do not write to it (a changed piece is noticed and not served any more). Transferred to a worker it is gone for all of them.
   *
   * @param options - `shared`: over a `SharedArrayBuffer`, so that worker threads see it without a copy. @defaultValue `false`
   * @throws PeerError TOO_LARGE before the first byte when one `Uint8Array` cannot hold it, and what `done` can throw
   */
  async bytes(options: { readonly shared?: boolean } = {}): Promise<Uint8Array> {
    refuseUnknown('options', options, ['shared'])
    const shared = flag('options.shared', options.shared ?? false)
    const bytes = (): Promise<Uint8Array> => this.#bytes(shared)
    return this.#host.track(healed(bytes, () => this.#forget()))
  }

  async #bytes(shared: boolean): Promise<Uint8Array> {
    using _ = this.#attach()
    this.#scope.signal.throwIfAborted()
    this.#renew()
    const { into, range, store } = this.#settings
    // A range of memory would keep the whole content allocated: it goes through the store.
    const place: Place =
      range !== undefined
        ? { is: 'store' }
        : {
            is: 'memory',
            shared,
            weak: store !== 'memory',
            ...(into === undefined ? {} : { into }),
          }
    const opened = await this.#open(place)
    const { task } = opened
    const wanted = wholeOr(range, task.geometry.contentLength)
    this.#refuseTooLarge(wanted.length, opened)
    const release = task.hold()
    try {
      const memory = range === undefined ? task.memory : undefined
      if (memory !== undefined && fits(memory, shared, into)) {
        await this.#finish(place)
        await task.lend()
        return memory
      }
      const target = into?.subarray(0, wanted.length) ?? allocate(wanted.length, shared)
      let at = 0
      for await (const chunk of this.#chunks(opened)) {
        target.set(chunk, at)
        at += chunk.byteLength
      }
      await this.#finish(place)
      return target
    } finally {
      release()
    }
  }

  /** The content, or the wanted range of it, in order as it comes; the consumer sets the pace. A wrong digest shows at the end. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    const read = deferred<void>()
    void this.#host.track(read.promise)
    using _ = this.#attach()
    const { signal } = this.#scope
    const chunks = this.#iterate()
    // A consumer that stands still cannot keep alive what was cancelled; when it goes on, it gets the reason.
    const end = (): void => read.resolve()
    const stop = (): void => void chunks.return().then(end, end)
    signal.addEventListener('abort', stop, { once: true })
    try {
      for (;;) {
        signal.throwIfAborted()
        const next = await chunks.next()
        if (next.done === true) break
        const asked = this.#host.grace.standing(() => this.#scope.abort(stoodStill()))
        try {
          yield next.value
        } finally {
          asked()
        }
      }
      signal.throwIfAborted()
    } finally {
      signal.removeEventListener('abort', stop)
      await chunks.return()
      read.resolve()
    }
  }

  async *#iterate(): AsyncGenerator<Uint8Array, void, undefined> {
    this.#renew()
    let opened = await this.#open({ is: 'store' })
    let release = opened.task.hold()
    const healing = new Healing()
    let whole = false
    try {
      for (let at = 0; !whole; ) {
        try {
          for await (const chunk of this.#chunks(opened, at)) {
            at += chunk.byteLength
            yield chunk
          }
          whole = true
        } catch (error) {
          if (!healing.helps(error)) throw error
          release()
          this.#forget()
          opened = await this.#open({ is: 'store' })
          release = opened.task.hold()
        }
      }
      await this.#finish({ is: 'store' })
    } finally {
      release()
      // Nobody else asked for the content: who leaves the loop early wants no more of it.
      if (!whole && this.#done === undefined) {
        this.#scope.abort(new PeerError('CLOSED', 'The reader went away', { what: 'download' }))
      }
    }
  }

  /** The same as a web stream. */
  stream(): ReadableStream<Uint8Array> {
    const chunks = this[Symbol.asyncIterator]()
    return new ReadableStream<Uint8Array>({
      async pull(controller) {
        const next = await chunks.next()
        if (next.done === true) controller.close()
        else controller.enqueue(next.value)
      },
      async cancel() {
        await chunks.return()
      },
    })
  }

  /** Cancels what is still running and lets go. What was kept stays kept. Safe to call twice. */
  async close(): Promise<void> {
    this.#scope.abort(new PeerError('CLOSED', 'The download was closed', { what: 'download' }))
    // What is pending rejects with CLOSED; here it only matters that it has ended.
    await Promise.allSettled([this.#opened, this.#done])
  }

  /** The same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** The content, or the wanted range of it. @param skip - bytes of that which are not wanted any more */
  #chunks(
    { spec, task, store, share }: Opened,
    skip = 0,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { range } = this.#settings
    const { start, length } = wholeOr(range, task.geometry.contentLength)
    const rest = skip === 0 ? range : { start: start + skip, length: length - skip }
    return output(
      {
        shelf: store,
        taskId: spec.id,
        kind: spec.kind,
        cut: task.geometry,
        ...(share === undefined ? {} : { share }),
        ...(rest === undefined ? {} : { range: rest }),
      },
      this.#scope.signal,
    )
  }

  /** Hears of the peer's end and of the caller's signal while something is done with the download: one that rests hangs on nobody. */
  #attach(): Disposable {
    const outer = new Scope(this.#parents)
    const end = (): void => this.#scope.abort(outer.signal.reason)
    if (outer.signal.aborted) end()
    else outer.signal.addEventListener('abort', end, { once: true })
    return outer
  }

  /** Used again after it was done: what has been dropped since, by collection or because it was damaged, is fetched anew. */
  #renew(): void {
    if (this.#kept === undefined) return
    const { task, store } = this.#kept
    const numbers = numbersIn(task.geometry, this.#settings.range)
    if (store.get(task.record.id) === task && numbers.every((number) => task.has(number))) return
    this.#forget()
  }

  #forget(): void {
    this.#kept = undefined
    this.#opened = undefined
    this.#done = undefined
  }

  #refuseTooLarge(length: number, { share }: Opened): void {
    const lengthMax = this.#settings.into?.byteLength ?? constants.MAX_LENGTH
    if (length <= lengthMax) return
    const error = tooLong(length, lengthMax)
    // Nobody else asked for the content: it is not fetched for nothing.
    if (this.#done === undefined) {
      share?.leave(error)
      this.#opened = undefined
    }
    throw error
  }

  #open(place: Place): Promise<Opened> {
    this.#opened ??= this.#start(place)
    return this.#opened
  }

  async #start(asked: Place): Promise<Opened> {
    const { spec, lookup, range, backToSource, store, into } = this.#settings
    const kept: Place =
      store === 'memory' || (into !== undefined && range === undefined)
        ? {
            is: 'memory',
            shared: false,
            weak: store !== 'memory',
            ...(into === undefined || range !== undefined ? {} : { into }),
          }
        : asked
    const place: Place = store === 'disk' ? { is: 'store' } : asked.is === 'memory' ? asked : kept
    const { signal } = this.#scope
    signal.throwIfAborted()
    const opened = await this.#tasks.open(
      { spec, lookup, range, backToSource, needBackToSource: false, place, limits: this.#limits },
      signal,
    )
    this.#follow(opened)
    return opened
  }

  #follow({ spec, share }: Opened): void {
    const { onProgress } = this.#settings
    if (share === undefined) return
    if (onProgress !== undefined) {
      share.onProgress((progress) => onProgress(shown(spec.id, progress)))
    }
    const leave = (): void => share.leave(this.#scope.signal.reason)
    if (this.#scope.signal.aborted) leave()
    else this.#scope.signal.addEventListener('abort', leave, { once: true })
  }

  #finish(place: Place): Promise<TaskInfo> {
    if (this.#done === undefined) {
      const complete = (): Promise<TaskInfo> => this.#complete(place)
      this.#done = healed(complete, () => (this.#opened = undefined))
      // Whoever waits for it sees the failure; nobody may be waiting for `done` itself.
      this.#done.catch(() => undefined)
      void this.#host.track(this.#done)
    }
    return this.#done
  }

  async #complete(place: Place): Promise<TaskInfo> {
    using _ = this.#attach()
    const { signal } = this.#scope
    const { range, onProgress } = this.#settings
    const opened = await this.#open(place)
    const { spec, task, share } = opened
    const release = task.hold()
    try {
      const hashed =
        spec.digest === undefined ? undefined : checkDigest(opened, spec.digest, signal)
      // Both are waited for: a digest that fails first must not leave the other one unobserved.
      await Promise.all([share?.done, hashed])
    } catch (error) {
      throw await forgetRotten(this.#tasks, opened, error, signal)
    } finally {
      share?.leave(signal.reason)
      release()
    }
    signal.throwIfAborted()
    const wanted = wholeOr(range, task.geometry.contentLength).length
    const traffic =
      share === undefined
        ? { source: 0, peers: 0, local: wanted }
        : shown(spec.id, share.progress()).traffic
    if (share === undefined) report(onProgress, allLocal(opened, wanted))
    this.#kept = opened
    return infoOf(opened, traffic)
  }
}

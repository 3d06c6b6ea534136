import { Worker } from 'node:worker_threads'
import { type Deferred, deferred } from '../util/deferred.ts'
import { type DigestAlgorithm, Hasher } from './digest.ts'
import type { DigestAnswer, DigestRequest } from './digest-worker.ts'

/** Content of at least this many bytes is hashed on a thread of its own: 16 MiB take about 10 ms of SHA-256. */
export const hashOnThreadBytesMin: number = 16 * 1024 * 1024
/** Bytes that are hashed at a time. */
export const hashBufferBytes: number = 1024 * 1024
/** Buffers under way to a thread at most. */
export const hashBufferCount: number = 4

/**
 * Digest of content that comes in order: ask for a buffer, fill it, push it. Small content is hashed at once, large content on a thread, so that no turn of
 * the event loop grows with the content.
 *
 * @example
 * ```ts
 * await using hasher = new ContentHasher('sha256', length)
 * const buffer = await hasher.buffer()
 * hasher.push(buffer, fill(buffer))
 * const digest = await hasher.digest()
 * ```
 */
export class ContentHasher implements AsyncDisposable {
  readonly #free: Uint8Array[] = []
  readonly #waiting: Deferred<Uint8Array>[] = []
  readonly #local: Hasher | undefined
  readonly #worker: Worker | undefined
  readonly #digest = deferred<string>()
  #made = 0
  #failure: Error | undefined

  /** @param length - bytes to come: decides where they are hashed */
  constructor(algorithm: DigestAlgorithm, length: number) {
    // Nobody may be waiting for the digest when the thread fails; buffer() and digest() report it.
    this.#digest.promise.catch(() => undefined)
    if (length < hashOnThreadBytesMin) {
      this.#local = new Hasher(algorithm)
      return
    }
    // The name of the compiled file: this one is compiled beside it.
    this.#worker = new Worker(new URL('./digest-worker.js', import.meta.url), {
      workerData: algorithm,
    })
    this.#worker.on('message', (answer: DigestAnswer) => this.#onAnswer(answer))
    this.#worker.on('error', (error) => this.#fail(error))
    this.#worker.on('exit', () => this.#fail(new Error('The hashing thread ended')))
  }

  /** Memory to fill next, `hashBufferBytes` long; waits while all are being hashed. */
  async buffer(): Promise<Uint8Array> {
    if (this.#failure !== undefined) throw this.#failure
    const free = this.#free.pop()
    if (free !== undefined) return free
    if (this.#made < hashBufferCount) {
      this.#made++
      return new Uint8Array(hashBufferBytes)
    }
    const wait = deferred<Uint8Array>()
    this.#waiting.push(wait)
    return wait.promise
  }

  /** The first `count` bytes of the buffer come next. The buffer must not be touched afterwards. */
  push(buffer: Uint8Array, count: number): void {
    if (this.#local !== undefined) {
      this.#local.update(buffer.subarray(0, count))
      this.#free.push(buffer)
      return
    }
    const memory = buffer.buffer as ArrayBuffer
    this.#post({ is: 'bytes', buffer: memory, count }, [memory])
  }

  /** All bytes were pushed: their digest in string form. */
  async digest(): Promise<string> {
    if (this.#local !== undefined) return this.#local.digest()
    this.#post({ is: 'end' })
    return this.#digest.promise
  }

  /** Ends the thread. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.terminate()
  }

  #post(request: DigestRequest, transfer: ArrayBuffer[] = []): void {
    this.#worker?.postMessage(request, transfer)
  }

  #onAnswer(answer: DigestAnswer): void {
    if (answer.is === 'digest') {
      this.#digest.resolve(answer.digest)
      return
    }
    const buffer = new Uint8Array(answer.buffer)
    const wait = this.#waiting.shift()
    if (wait === undefined) this.#free.push(buffer)
    else wait.resolve(buffer)
  }

  #fail(error: Error): void {
    this.#failure = error
    this.#digest.reject(error)
    for (const wait of this.#waiting.splice(0)) wait.reject(error)
  }
}

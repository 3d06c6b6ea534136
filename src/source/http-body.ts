import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { type Deferred, deferred } from '../util/deferred.ts'
import { HttpFault, connectionFault } from './http-fault.ts'

/** Most bytes read of a body that nobody wants, to keep its connection usable; a longer one costs the connection. */
export const droppedBytesMax: number = 16 * 1024

/** Gives the memory of an array back at once. */
type Release = (bytes: Uint8Array) => void

/** What a body needs. */
export interface BodySettings {
  readonly idleTimeoutMs: number
  /** Gives the memory of an array back at once, if that is all of its memory; undefined where nothing can. */
  readonly release: Release | undefined
}

/** How a body ended. */
type Ending = { readonly is: 'end' } | { readonly is: 'broken'; readonly error: unknown }

/**
 * The body of an answer, read once. As long as its reader keeps up, chunks go to it as they come: every pause of the stream costs as much as a chunk. A chunk that nobody
 * waits for pauses it, so one is kept here and one read of the socket behind it.
 *
 * The time limit counts only while somebody waits: a reader that takes its time is no silence of the origin.
 */
export class HttpBody implements AsyncIterableIterator<Uint8Array, undefined> {
  readonly #request: ClientRequest
  readonly #incoming: IncomingMessage
  readonly #timer: NodeJS.Timeout
  #kept: Uint8Array | undefined
  /** Memory of the last chunk that came out of the stream. */
  #came: ArrayBufferLike | undefined
  #waiting: Deferred<IteratorResult<Uint8Array, undefined>> | undefined
  /** What the connection said before the stream says only that it was cut. */
  #cause: Error | undefined
  #ending: Ending | undefined

  constructor(
    request: ClientRequest,
    incoming: IncomingMessage,
    { idleTimeoutMs, release }: BodySettings,
  ) {
    this.#request = request
    this.#incoming = incoming
    this.#timer = setTimeout(() => this.#onTime(), idleTimeoutMs).unref()
    request.on('error', (error) => {
      this.#cause ??= error
    })
    if (release !== undefined) this.#releaseReads(incoming.socket, release)
    incoming.pause()
    incoming.on('data', (chunk: Uint8Array) => this.#onChunk(chunk))
    incoming.on('end', () => this.#end({ is: 'end' }))
    incoming.on('error', (error) => this.#end(this.#broken(error)))
    incoming.on('close', () => this.#end(this.#broken(new HttpFault('CONNECTION_CLOSED'))))
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** One call at a time. @throws what broke the connection; HttpFault IDLE_TIMEOUT; the reason of `destroy()` */
  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const kept = this.#kept
    if (kept !== undefined) {
      this.#kept = undefined
      return Promise.resolve({ done: false, value: kept })
    }
    if (this.#ending?.is === 'end') return Promise.resolve({ done: true, value: undefined })
    if (this.#ending?.is === 'broken') return Promise.reject(this.#ending.error)
    this.#waiting = deferred()
    this.#timer.refresh()
    if (this.#incoming.isPaused()) this.#incoming.resume()
    return this.#waiting.promise
  }

  /** No more is wanted. The connection stays usable only if everything has come. */
  return(): Promise<IteratorReturnResult<undefined>> {
    this.#kept = undefined
    if (this.#ending === undefined && this.#incoming.complete) {
      // What is left of it in the stream runs out, and then the connection is free.
      this.#end({ is: 'end' })
      this.#incoming.resume()
    } else if (this.#ending === undefined) {
      this.destroy(new HttpFault('CONNECTION_CLOSED'))
    }
    return Promise.resolve({ done: true, value: undefined })
  }

  /** Nothing of it is wanted. Reads a bounded rest in the background, so that the connection can be used again. */
  drop(): void {
    void this.#drop()
  }

  /** Ends it and its connection. Whoever waits gets the reason. */
  destroy(reason: unknown): void {
    this.#kept = undefined
    this.#end({ is: 'broken', error: reason })
    this.#request.destroy()
  }

  async #drop(): Promise<void> {
    let left = droppedBytesMax - Number(this.#incoming.headers['content-length'] ?? 0)
    try {
      while (left >= 0) {
        const { done, value } = await this.next()
        if (done === true) return
        left -= value.length
      }
    } catch {
      // It was not wanted: how it broke is nobody's business.
    }
    await this.return()
  }

  #onChunk(chunk: Uint8Array): void {
    this.#came = chunk.buffer
    if (this.#ending !== undefined) return
    const waiting = this.#waiting
    if (waiting === undefined) {
      this.#kept = chunk
      this.#incoming.pause()
      return
    }
    this.#waiting = undefined
    waiting.resolve({ done: false, value: chunk })
  }

  /**
   * Node's parser copies the body out of what was read of the socket, and tens of MiB of that come together before they are collected. So each read is given back when the
   * parser, which listens before us, is through with it; but not before a chunk has shown that it is a copy.
   */
  #releaseReads(socket: Socket, release: Release): void {
    let copied = false
    const onBefore = (): void => {
      this.#came = undefined
    }
    const onRead = (read: Uint8Array): void => {
      if (!copied && this.#came !== undefined) {
        socket.off('data', onBefore)
        copied = this.#came !== read.buffer
        if (!copied) socket.off('data', onRead)
      }
      if (copied) release(read)
    }
    socket.prependListener('data', onBefore).on('data', onRead)
    this.#request.once('close', () => socket.off('data', onBefore).off('data', onRead))
  }

  #onTime(): void {
    if (this.#waiting !== undefined) this.destroy(new HttpFault('IDLE_TIMEOUT'))
  }

  #broken(error: Error): Ending {
    return { is: 'broken', error: connectionFault(this.#cause ?? error) }
  }

  #end(ending: Ending): void {
    if (this.#ending !== undefined) return
    this.#ending = ending
    clearTimeout(this.#timer)
    const waiting = this.#waiting
    this.#waiting = undefined
    if (ending.is === 'end') waiting?.resolve({ done: true, value: undefined })
    else waiting?.reject(ending.error)
  }
}

import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Slot } from '../task/ports.ts'
import { type Deferred, deferred } from '../util/deferred.ts'
import { moveBytesMin } from '../util/flow-move.ts'
import { HttpFault, connectionFault } from './http-fault.ts'
import { Line } from './line.ts'

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
 * Over a `Line` whoever reads may let bytes `pass()`: they are never here.
 *
 * The time limit counts only while somebody waits: a reader that takes its time is no silence of the origin.
 */
export class HttpBody implements AsyncIterableIterator<Uint8Array, undefined> {
  readonly #request: ClientRequest
  readonly #incoming: IncomingMessage
  readonly #timer: NodeJS.Timeout
  readonly #release: Release | undefined
  #kept: Uint8Array | undefined
  /** Memory of the last chunk that came out of the stream. */
  #came: ArrayBufferLike | undefined
  #waiting: Deferred<IteratorResult<Uint8Array, undefined>> | undefined
  /** What the connection said before the stream says only that it was cut. */
  #cause: Error | undefined
  #ending: Ending | undefined
  /** The connection, if bytes can pass. */
  #line: Line | undefined
  /** Bytes of the body that have not been counted yet. */
  #left: number
  /** Bytes that passed, and that the stream still brings blanks for. */
  #blanks = 0
  /** Ends what passes now. */
  #passing: AbortController | undefined

  constructor(
    request: ClientRequest,
    incoming: IncomingMessage,
    { idleTimeoutMs, release }: BodySettings,
  ) {
    this.#request = request
    this.#incoming = incoming
    this.#release = release
    this.#timer = setTimeout(() => this.#onTime(), idleTimeoutMs).unref()
    request.on('error', (error) => {
      this.#cause ??= error
    })
    const { socket, headers } = incoming
    // The parser refuses an answer that has both fields, or a length that is no number.
    this.#left = Number(headers['content-length'] ?? 0)
    if (socket instanceof Line && Number.isSafeInteger(this.#left)) this.#line = socket
    if (release !== undefined) this.#releaseReads(socket, release)
    this.#watchSurplus(socket)
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

  /**
   * Bytes go from the connection into the slot and nowhere else, as many as it misses. Resolves with how many, soon after the first of them came; with 0 `next()` goes on.
   * Instead of `next()`, not beside it.
   *
   * @throws `failure`, and what the slot holds is of no use; what the slot throws
   */
  async pass(slot: Slot): Promise<number> {
    const { fillFrom } = slot
    const before = slot.filled
    const missing = slot.piece.length - before
    if (fillFrom === undefined || missing < moveBytesMin || missing > this.#left) return 0
    if (this.#kept !== undefined || this.#ending !== undefined) return 0
    if (this.#incoming.readableLength > 0) return 0
    const line = this.#line
    const socket = line?.lend()
    if (line === undefined || socket === undefined) return 0
    this.#passing = new AbortController()
    this.#timer.refresh()
    this.#incoming.resume() // so that blanks are gone as soon as they come
    let passed = 0
    try {
      const count = await fillFrom(socket, this.#passing.signal)
      // Nothing comes this way any more. Whoever reads here sees why.
      if (count === 0) this.#line = undefined
      passed = slot.filled - before
    } catch (error) {
      // What was read and is not kept is lost.
      if (this.#ending === undefined) this.destroy(new HttpFault('CONNECTION_CLOSED'))
      throw error
    } finally {
      this.#passing = undefined
      this.#blanks = passed
      line.back(passed)
    }
    return passed
  }

  /** What broke it, if something did. */
  get failure(): unknown {
    return this.#ending?.is === 'broken' ? this.#ending.error : undefined
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

  #onChunk(came: Uint8Array): void {
    this.#left -= came.length
    const chunk = this.#blanks === 0 ? came : this.#withoutBlanks(came)
    if (chunk.length === 0) return
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

  /** Blanks come before everything that was read after them. */
  #withoutBlanks(came: Uint8Array): Uint8Array {
    const rest = came.subarray(Math.min(this.#blanks, came.length))
    this.#blanks -= came.length - rest.length
    if (rest.length === 0) this.#release?.(came)
    return rest
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

  /** What comes behind the body while that is still being read: the parser is gone then, and it would be lost, and its rest be taken for the next answer. */
  #watchSurplus(socket: Socket): void {
    const onRead = (): void => {
      if (this.#incoming.complete) socket.destroy()
    }
    // Before the parser, which says that the body is complete with its last byte.
    socket.prependListener('data', onRead)
    this.#request.once('close', () => socket.off('data', onRead))
  }

  #onTime(): void {
    if (this.#waiting === undefined && this.#passing === undefined) return
    this.destroy(new HttpFault('IDLE_TIMEOUT'))
  }

  #broken(error: Error): Ending {
    return { is: 'broken', error: connectionFault(this.#cause ?? error) }
  }

  #end(ending: Ending): void {
    if (this.#ending !== undefined) return
    this.#ending = ending
    clearTimeout(this.#timer)
    if (ending.is === 'broken') this.#passing?.abort(ending.error)
    const waiting = this.#waiting
    this.#waiting = undefined
    if (ending.is === 'end') waiting?.resolve({ done: true, value: undefined })
    else waiting?.reject(ending.error)
  }
}

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
  readonly #idleTimeoutMs: number
  #timer: NodeJS.Timeout | undefined
  /** Of the timer. */
  #delayMs = 0
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
  /** Where bytes pass to now. */
  #passing: Slot | undefined
  /** Ends what passes. */
  readonly #stop = new AbortController()

  constructor(
    request: ClientRequest,
    incoming: IncomingMessage,
    { idleTimeoutMs, release }: BodySettings,
  ) {
    this.#request = request
    this.#incoming = incoming
    this.#release = release
    this.#idleTimeoutMs = idleTimeoutMs
    this.#arm(idleTimeoutMs)
    request.on('error', (error) => {
      this.#cause ??= error
    })
    const { socket, headers } = incoming
    // The parser refuses an answer that has both fields, or a length that is no number.
    this.#left = Number(headers['content-length'] ?? 0)
    if (socket instanceof Line && Number.isSafeInteger(this.#left)) {
      this.#line = socket
      // If all of this body passes, what is read here next are the fields of the next answer.
      if (this.#left >= moveBytesMin) socket.awaitHead()
    }
    if (release !== undefined) this.#releaseReads(socket, release)
    this.#watchSurplus(socket)
    incoming.pause()
    incoming.on('data', (chunk: Uint8Array) => this.#onChunk(chunk))
    incoming.on('end', () => this.#end({ is: 'end' }))
    incoming.on('error', (error) => this.#end(this.#broken(error)))
    incoming.on('close', () => {
      // An error is made only where there is one: it costs as much as a chunk.
      if (this.#ending === undefined) this.#end(this.#broken(new HttpFault('CONNECTION_CLOSED')))
    })
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
    this.#refresh()
    if (this.#incoming.isPaused()) this.#incoming.resume()
    return this.#waiting.promise
  }

  /**
   * Bytes go from the connection into the slot and nowhere else, as many as it misses, behind those that have come here already. Resolves with how many, soon after the first
   * of them came; with 0 `next()` goes on. Instead of `next()`, not beside it.
   *
   * @throws `failure`, and what the slot holds is of no use; what the slot throws
   */
  async pass(slot: Slot): Promise<number> {
    const { fillFrom } = slot
    const line = this.#line
    if (fillFrom === undefined || line === undefined) return 0
    // Comes as a chunk, and is kept.
    if (this.#kept === undefined && this.#incoming.readableLength > 0) this.#incoming.read()
    const before = slot.filled
    const missing = slot.piece.length - before - (this.#kept?.length ?? 0)
    if (missing < moveBytesMin || missing > this.#left || this.#ending !== undefined) return 0
    if (this.#incoming.readableLength > 0 || !this.#put(slot)) return 0
    const socket = line.lend()
    if (socket === undefined) {
      this.#line = undefined
      return slot.filled - before
    }
    this.#passing = slot
    this.#refresh()
    this.#incoming.resume() // so that blanks are gone as soon as they come
    const from = slot.filled
    let count = 0
    try {
      count = await fillFrom(socket, this.#stop.signal)
    } catch (error) {
      // What was read and is not kept is lost.
      if (this.#ending === undefined) this.destroy(new HttpFault('CONNECTION_CLOSED'))
      throw error
    } finally {
      this.#passing = undefined
      const passed = slot.filled - from
      this.#left -= passed
      this.#blanks = passed
      if (line.back(passed)) this.#blanks = 0
    }
    // Nothing comes this way any more. Whoever reads here sees why.
    if (count === 0) this.#line = undefined
    return slot.filled - before
  }

  /** Into the slot with what has come here. False when that has no place for it now. */
  #put(slot: Slot): boolean {
    const kept = this.#kept
    if (kept === undefined) return true
    const space = slot.space()
    if (space === undefined || space.length < kept.length) return false
    space.set(kept)
    slot.fill(kept.length)
    this.#kept = undefined
    this.#release?.(kept)
    return true
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
    const chunk = this.#blanks === 0 ? came : this.#withoutBlanks(came)
    if (chunk.length === 0) return
    this.#left -= chunk.length
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
    // What was received and is not written yet holds the transfer up, not the origin.
    const restMs = this.#idleTimeoutMs - (this.#passing?.silentMs ?? this.#idleTimeoutMs)
    if (restMs > 0) this.#arm(Math.ceil(restMs))
    else this.destroy(new HttpFault('IDLE_TIMEOUT'))
  }

  /** The time begins anew. */
  #refresh(): void {
    if (this.#delayMs === this.#idleTimeoutMs) this.#timer?.refresh()
    else this.#arm(this.#idleTimeoutMs)
  }

  #arm(delayMs: number): void {
    clearTimeout(this.#timer)
    this.#delayMs = delayMs
    this.#timer = setTimeout(() => this.#onTime(), delayMs).unref()
  }

  #broken(error: Error): Ending {
    return { is: 'broken', error: connectionFault(this.#cause ?? error) }
  }

  #end(ending: Ending): void {
    if (this.#ending !== undefined) return
    this.#ending = ending
    clearTimeout(this.#timer)
    if (ending.is === 'broken' && this.#passing !== undefined) this.#stop.abort(ending.error)
    const waiting = this.#waiting
    this.#waiting = undefined
    if (ending.is === 'end') waiting?.resolve({ done: true, value: undefined })
    else waiting?.reject(ending.error)
  }
}

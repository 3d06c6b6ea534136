import { constants, type Http2Session, type ServerHttp2Stream } from 'node:http2'

import type { RpcServerLimits } from './server-options.ts'
import { Shares } from './shares.ts'

/** The calls that a server has open, and which of them gives way when there are too many. */
export class OpenCalls {
  readonly #limits: Pick<RpcServerLimits, 'callsMax' | 'requestTimeoutMs'>
  /** All of them, by the address of the caller. */
  readonly #callers = new Shares<ServerHttp2Stream>()
  /** Calls whose request has not come, the oldest first. */
  readonly #unasked = new Set<ServerHttp2Stream>()
  /** Calls of each connection whose request has come, where there are any. */
  readonly #asked = new Map<Http2Session, number>()
  #count = 0

  constructor(limits: Pick<RpcServerLimits, 'callsMax' | 'requestTimeoutMs'>) {
    this.#limits = limits
  }

  /** Whether a request has come on this connection whose call is still open. */
  asks(session: Http2Session): boolean {
    return this.#asked.has(session)
  }

  /**
   * Takes a call, whose request has to come in time. At the bound it takes the place of the oldest whose request has not come, else of the newest of the caller that
   * has most, if that is more than this caller would have.
   *
   * @returns what to call when the request has come; undefined when there is no place
   */
  open(stream: ServerHttp2Stream): (() => void) | undefined {
    const caller = stream.session?.socket.remoteAddress ?? ''
    if (this.#count >= this.#limits.callsMax && !this.#makeRoom(caller)) return undefined
    this.#count++
    this.#callers.add(caller, stream)
    stream.once('close', () => {
      this.#count--
      this.#callers.delete(caller, stream)
    })
    return this.#awaitRequest(stream)
  }

  #makeRoom(caller: string): boolean {
    const [oldest] = this.#unasked
    const victim = oldest ?? this.#callers.takeExcess(caller)
    if (victim === undefined) return false
    this.#unasked.delete(victim)
    // Later: a reset from within Node's own reading uses memory that it has freed (see `resetLater`).
    setImmediate(() => victim.close(constants.NGHTTP2_ENHANCE_YOUR_CALM))
    return true
  }

  #awaitRequest(stream: ServerHttp2Stream): () => void {
    const { session } = stream
    this.#unasked.add(stream)
    const late = setTimeout(() => {
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    }, this.#limits.requestTimeoutMs).unref()
    let counted = false
    stream.once('close', () => {
      clearTimeout(late)
      this.#unasked.delete(stream)
      if (counted && session !== undefined) this.#note(session, -1)
    })
    return () => {
      clearTimeout(late)
      if (!this.#unasked.delete(stream) || session === undefined) return
      counted = true
      this.#note(session, 1)
    }
  }

  #note(session: Http2Session, change: number): void {
    const count = (this.#asked.get(session) ?? 0) + change
    if (count > 0) this.#asked.set(session, count)
    else this.#asked.delete(session)
  }
}

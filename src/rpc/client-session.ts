import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'

import { Code, ConnectError } from '@connectrpc/connect'
import type { GrpcTransportOptions } from '@connectrpc/connect-node'

import type { DialTarget } from './address.ts'
import { keepJsonDetails } from './backend-detail.ts'
import {
  type Connection,
  connectionWindowBytes,
  destroyConnection,
  frameBytesMax,
  keepAlive,
  signOfLife,
  streamWindowBytes,
} from './connection.ts'

/** Times and secrets of a `ClientSession`. */
export interface ClientSessionOptions {
  readonly connectTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly pingIntervalMs: number
  readonly pingTimeoutMs: number
  readonly tls?: ConnectionOptions | undefined
}

type SessionManager = NonNullable<GrpcTransportOptions['sessionManager']>

type State =
  | { readonly is: 'idle' }
  | { readonly is: 'connecting'; readonly link: Promise<Link>; readonly socket: Socket }
  | { readonly is: 'open'; readonly link: Link }
  | { readonly is: 'closed' }

/** One connection and what it carries. */
interface Link extends Connection {
  readonly session: ClientHttp2Session
  calls: number
  idle: NodeJS.Timeout | undefined
}

/**
 * Connections to one server as Connect wants them managed: at most one takes new calls; it is opened by the first call, closed when
 * idle, and opened again by the next call. While it carries calls it keeps the process alive, otherwise not.
 *
 * Connect's own manager is not used: it has no time limit for connecting, it can throw from a keep-alive timer, where nothing catches,
 * when a connection dies (connect-es #1795), it keeps connections that a server ended (#1545), and it cannot be ended for good.
 */
export class ClientSession implements SessionManager {
  /** Origin of the server, also what `:authority` says. */
  readonly authority: string
  readonly #target: DialTarget
  readonly #options: ClientSessionOptions
  #state: State = { is: 'idle' }
  /** Also those that take no new calls but still finish some. */
  readonly #links = new Set<Link>()
  readonly #onLost = new Set<() => void>()
  #pinging: Promise<void> | undefined

  constructor(target: DialTarget, options: ClientSessionOptions) {
    this.#target = target
    this.#options = options
    this.authority = authority(target, options.tls !== undefined)
  }

  /** Starts a call, over a new connection if there is none. Rejects with a `ConnectError` of code `Unavailable`. */
  async request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: Parameters<SessionManager['request']>[3],
  ): Promise<ClientHttp2Stream> {
    for (let attempt = 1; ; attempt++) {
      const link = await this.#ready()
      try {
        return this.#begin(link, { ...headers, ':method': method, ':path': path }, options)
      } catch (error) {
        if (!link.session.closed) throw error
        // A connection can end after it was found open; a new one is worth one try.
        if (attempt === 2) throw unavailable(`Connection to ${this.authority} is lost`, error)
        this.#lose(link)
      }
    }
  }

  /** Calls back when the server takes leave, or a connection that could take calls breaks. */
  onLost(listener: () => void): void {
    this.#onLost.add(listener)
  }

  /** Resolves when the server gives a sign of life, over a new connection if there is none. All who ask meanwhile share one. */
  ping(): Promise<void> {
    this.#pinging ??= this.#ping().finally(() => {
      this.#pinging = undefined
    })
    return this.#pinging
  }

  /** Part of Connect's contract. Nothing here goes by what comes, so there is nothing to note. */
  notifyResponseByteRead(): void {}

  /** any → closed. Ends every connection and call at once; later calls fail. */
  close(): void {
    const state = this.#state
    this.#state = { is: 'closed' }
    const reason = closedError(this.authority)
    if (state.is === 'connecting') state.socket.destroy(reason)
    for (const link of this.#links) destroyConnection(link, reason)
  }

  async #ping(): Promise<void> {
    await signOfLife(await this.#ready(), this.#options.pingTimeoutMs)
  }

  #ready(): Promise<Link> | Link {
    const state = this.#state
    if (state.is === 'closed') throw closedError(this.authority)
    if (state.is === 'connecting') return state.link
    if (state.is === 'open' && !state.link.session.closed) return state.link
    const socket = dial(this.#target, this.#options.tls)
    const link = this.#connect(socket)
    this.#state = { is: 'connecting', link, socket }
    return link
  }

  /** connecting → open, or → idle when it fails. */
  async #connect(socket: Socket): Promise<Link> {
    const session = connect(this.authority, {
      createConnection: () => socket,
      settings: {
        enablePush: false,
        initialWindowSize: streamWindowBytes,
        maxFrameSize: frameBytesMax,
      },
    })
    const link: Link = { session, socket, calls: 0, idle: undefined }
    this.#links.add(link)
    session.once('close', () => this.#forget(link))
    session.once('goaway', () => this.#lose(link))
    try {
      await connected(session, socket, this.#options.connectTimeoutMs)
    } catch (error) {
      destroyConnection(link)
      if (this.#state.is === 'connecting') this.#state = { is: 'idle' }
      throw ConnectError.from(error).code === Code.Unavailable
        ? error
        : unavailable(
            `Cannot connect to ${this.authority}: ${ConnectError.from(error).rawMessage}`,
            error,
          )
    }
    if (this.#isClosed()) {
      destroyConnection(link)
      throw closedError(this.authority)
    }
    // The calls get this error too, each its own way.
    session.on('error', () => this.#lose(link))
    session.setLocalWindowSize(connectionWindowBytes)
    keepAlive(link, this.#options.pingIntervalMs, this.#options.pingTimeoutMs)
    session.unref()
    this.#state = { is: 'open', link }
    this.#rest(link)
    return link
  }

  /** A method, because the compiler does not know that `#state` can change during an `await`. */
  #isClosed(): boolean {
    return this.#state.is === 'closed'
  }

  #begin(
    link: Link,
    headers: OutgoingHttpHeaders,
    options: Parameters<SessionManager['request']>[3],
  ): ClientHttp2Stream {
    const stream = link.session.request(headers, options)
    resetLater(stream)
    clearTimeout(link.idle)
    if (link.calls++ === 0) link.session.ref()
    let answered = false
    stream.once('response', () => {
      answered = true
    })
    stream.once('close', () => {
      link.calls--
      this.#rest(link)
      // Connect would wait for headers for ever.
      if (!answered && stream.rstCode === constants.NGHTTP2_NO_ERROR) {
        stream.emit('error', unavailable('The server ended the call without an answer'))
      }
    })
    // These listeners come before Connect's own, and both get the same object.
    const edit = (received: IncomingHttpHeaders): void => keepJsonDetails(received)
    stream.on('response', edit)
    stream.on('trailers', edit)
    return stream
  }

  /** Without calls: waits for the next one for a while, or ends when no new one may come. */
  #rest(link: Link): void {
    if (link.calls > 0 || link.session.destroyed) return
    if (this.#state.is !== 'open' || this.#state.link !== link) return destroyConnection(link)
    link.session.unref()
    link.idle = setTimeout(() => this.#retire(link), this.#options.idleTimeoutMs).unref()
  }

  /** open → idle, if this is the open one. It finishes its calls and goes. */
  #retire(link: Link): void {
    if (this.#state.is === 'open' && this.#state.link === link) this.#state = { is: 'idle' }
    clearTimeout(link.idle)
    this.#rest(link)
  }

  /** As `#retire`, by the other side. Of a connection that is idle or retired already nobody needs to know. */
  #lose(link: Link): void {
    const open = this.#state.is === 'open' && this.#state.link === link
    this.#retire(link)
    if (open) for (const listener of this.#onLost) listener()
  }

  #forget(link: Link): void {
    this.#links.delete(link)
    this.#lose(link)
    // Node leaves it open when the TLS handshake fails late.
    link.socket.destroy()
  }
}

/**
 * Connect resets a call that fails while its request half is open, mostly in a microtask of the very bytes that made it fail. Node then sends from within its own
 * reading, which nghttp2 is not made for. Found with Node 20.20: it frees the call and goes on to use it, and sooner or later the process aborts (each registration
 * that a scheduler refused did it); or it sends empty frames for another call, which a leaving server has just refused, and never comes back, while memory
 * grows by a gigabyte in seconds. So the reset waits until Node has read to the end, and it is CANCEL, the right code for a client in any case.
 */
function resetLater(stream: ClientHttp2Stream): void {
  const close = stream.close.bind(stream)
  stream.close = (_code, callback) => {
    setImmediate(() => close(constants.NGHTTP2_CANCEL, callback))
  }
}

function authority(target: DialTarget, secure: boolean): string {
  const scheme = secure ? 'https' : 'http'
  if ('path' in target) return `${scheme}://localhost`
  const host = target.host.includes(':') ? `[${target.host}]` : target.host
  return new URL(`${scheme}://${host}:${target.port}`).origin
}

function dial(target: DialTarget, tls: ConnectionOptions | undefined): Socket | TLSSocket {
  if (tls === undefined) return connectTcp(target)
  return connectTls({ ...target, ...tls, ALPNProtocols: ['h2'] })
}

/** Waits until calls can be made. `net.connect()` has no time limit of its own for connecting. */
function connected(session: ClientHttp2Session, socket: Socket, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      settle(() => reject(unavailable(`No connection in ${timeoutMs} ms`)))
    }, timeoutMs)
    const settle = (then: () => void): void => {
      clearTimeout(timer)
      session.off('connect', onConnect)
      session.off('close', onClose)
      then()
    }
    const onConnect = (): void => settle(resolve)
    const onClose = (): void => settle(() => reject(socket.errored ?? new Error('Closed')))
    session.once('connect', onConnect)
    session.once('close', onClose)
    // Stays after this promise: an error may come while the session is torn down, and 'close' follows it.
    session.on('error', (error) => settle(() => reject(error)))
  })
}

function unavailable(message: string, cause?: unknown): ConnectError {
  return new ConnectError(message, Code.Unavailable, undefined, undefined, cause)
}

function closedError(server: string): ConnectError {
  return unavailable(`Channel to ${server} is closed`)
}

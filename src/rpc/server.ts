import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'

import { Code, ConnectError, createConnectRouter, type Interceptor } from '@connectrpc/connect'
import type { UniversalHandler } from '@connectrpc/connect/protocol'

import type { RpcAddress } from './address.ts'
import { answerCall, refuseCall } from './call.ts'
import {
  type Connection,
  connectionWindowBytes,
  destroyConnection,
  keepAlive,
} from './connection.ts'
import { listen } from './listen.ts'
import { OpenCalls } from './open-calls.ts'
import {
  http2Options,
  type RpcServerLimits,
  type RpcServerOptions,
  rpcServerLimits,
  tlsOptions,
} from './server-options.ts'
import { Shares } from './shares.ts'

/** A gRPC server that listens. */
export interface RpcServer extends AsyncDisposable {
  /** Where it listens, with the port that it got. */
  readonly address: RpcAddress
  /** Takes no more connections and calls, waits for those under way, then ends what is left. Calling it again waits with the first. */
  close(): Promise<void>
  /** Ends everything at once. `close()` then waits until it is gone. */
  destroy(): void
}

/**
 * Serves gRPC over HTTP/2, as Rust and Go clients of Dragonfly want it; what is special about that stands in `call.ts`.
 *
 * Rejects with `LISTEN_FAILED`, or with the signal's reason.
 *
 * @example
 * ```ts
 * const server = await serveRpc({ routes, host: '0.0.0.0', port: 0 })
 * await server.close()
 * ```
 */
export async function serveRpc(options: RpcServerOptions): Promise<RpcServer> {
  options.signal?.throwIfAborted()
  const server = new Server(options)
  await server.listen()
  return server
}

class Server implements RpcServer {
  readonly #options: RpcServerOptions
  readonly #limits: RpcServerLimits
  readonly #onError: (error: unknown) => void
  readonly #handlers: ReadonlyMap<string, UniversalHandler>
  readonly #server: Http2Server | Http2SecureServer
  readonly #gone: Promise<void>
  /** Also those that are still in the TLS handshake. */
  readonly #sockets = new Set<Socket>()
  readonly #connections = new Set<Connection>()
  /** Sockets by the address of the caller. */
  readonly #callers = new Shares<Socket>()
  readonly #calls: OpenCalls
  #address: RpcAddress | undefined
  #closing = false

  constructor(options: RpcServerOptions) {
    const { tls, onError = () => undefined } = options
    this.#options = options
    this.#limits = { ...rpcServerLimits, ...options.limits }
    this.#onError = onError
    this.#calls = new OpenCalls(this.#limits)
    this.#handlers = handlersOf(options, this.#limits, onError)
    const http2 = http2Options(this.#limits)
    this.#server =
      tls === undefined
        ? createServer(http2)
        : createSecureServer({ ...http2, ...tlsOptions(tls, this.#limits) })
    this.#gone = new Promise((resolve) => this.#server.once('close', resolve))
    this.#watch(this.#server, tls === undefined ? 'connection' : 'secureConnection')
  }

  get address(): RpcAddress {
    if (this.#address === undefined) throw new TypeError('Not listening yet')
    return this.#address
  }

  async listen(): Promise<void> {
    const { signal } = this.#options
    this.#address = await listen(this.#server, this.#options)
    // From here on errors are those of accepting one connection.
    this.#server.on('error', this.#onError)
    const stop = (): void => this.destroy()
    signal?.addEventListener('abort', stop, { once: true })
    this.#server.once('close', () => signal?.removeEventListener('abort', stop))
    if (signal?.aborted) {
      stop()
      await this.#gone
      signal.throwIfAborted()
    }
  }

  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true
      this.#server.close()
      for (const { session } of this.#connections) session.close()
    }
    const late = setTimeout(() => this.destroy(), this.#limits.closeTimeoutMs)
    await this.#gone
    clearTimeout(late)
  }

  destroy(): void {
    this.#closing = true
    if (this.#server.listening) this.#server.close()
    for (const connection of this.#connections) destroyConnection(connection)
    for (const socket of this.#sockets) socket.destroy()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #watch(server: Http2Server | Http2SecureServer, ready: 'connection' | 'secureConnection'): void {
    server.on('connection', (socket: Socket) => {
      const caller = socket.remoteAddress ?? ''
      this.#sockets.add(socket)
      socket.once('close', () => {
        this.#sockets.delete(socket)
        this.#callers.delete(caller, socket)
      })
      if (this.#sockets.size > this.#limits.connectionsMax) this.#giveWay(socket)
      if (!socket.destroyed) this.#callers.add(caller, socket)
    })
    // 'session' is emitted by the listener behind this one, in the same turn; it does not give out the socket itself.
    let latest: Socket
    server.prependListener(ready, (socket: Socket) => {
      latest = socket
    })
    server.on('session', (session) => this.#onConnection({ session, socket: latest }))
    server.on('stream', (stream: ServerHttp2Stream, headers) => this.#onCall(stream, headers))
    server.on('sessionError', this.#onError)
    server.on('tlsClientError', this.#onError)
  }

  #onConnection(connection: Connection): void {
    const { session } = connection
    const { handshakeTimeoutMs, pingIntervalMs, pingTimeoutMs } = this.#limits
    this.#connections.add(connection)
    const silent = setTimeout(() => destroyConnection(connection), handshakeTimeoutMs).unref()
    session.once('remoteSettings', () => clearTimeout(silent))
    session.once('close', () => {
      clearTimeout(silent)
      this.#connections.delete(connection)
    })
    session.setLocalWindowSize(connectionWindowBytes)
    keepAlive(connection, pingIntervalMs, pingTimeoutMs)
  }

  /**
   * Whoever connects and asks nothing must not keep others out: the oldest of them goes. Without one, it is the newest of the address that has most connections,
   * or the newcomer itself.
   */
  #giveWay(newcomer: Socket): void {
    for (const connection of this.#connections) {
      if (this.#calls.asks(connection.session) || connection.socket === newcomer) continue
      this.#connections.delete(connection)
      return destroyConnection(connection)
    }
    const victim = this.#callers.takeExcess(newcomer.remoteAddress ?? '') ?? newcomer
    victim.destroy()
  }

  #onCall(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    // The handler learns from its signal that a call broke; there is nobody else to tell.
    stream.on('error', () => undefined)
    const onAsked = this.#calls.open(stream)
    if (onAsked === undefined) {
      const { callsMax } = this.#limits
      return refuseCall(stream, Code.ResourceExhausted, `More than ${callsMax} calls at once`)
    }
    void answerCall(stream, headers, this.#handlers, this.#options.streamHeaders, onAsked)
  }
}

function handlersOf(
  { routes }: RpcServerOptions,
  limits: RpcServerLimits,
  onError: (error: unknown) => void,
): ReadonlyMap<string, UniversalHandler> {
  const router = createConnectRouter({
    grpcWeb: false,
    connect: false,
    // Upstream never compresses, and without it nothing can swell on the way in.
    acceptCompression: [],
    readMaxBytes: limits.requestBytesMax,
    writeMaxBytes: limits.responseBytesMax,
    // What a timer can hold. A longer one would fire at once.
    maxTimeoutMs: 2 ** 31 - 1,
    interceptors: [reportThrown(onError)],
  })
  routes(router)
  return new Map(router.handlers.map((handler) => [handler.requestPath, handler]))
}

/** Connect answers `Internal` for what is no `ConnectError` and says no more; this is where it can be seen. */
function reportThrown(onError: (error: unknown) => void): Interceptor {
  const report = (error: unknown, signal: AbortSignal): never => {
    if (!(error instanceof ConnectError) && !signal.aborted) onError(error)
    throw error
  }
  return (next) => async (request) => {
    const { signal } = request
    const response = await next(request).catch((error: unknown) => report(error, signal))
    if (!response.stream) return response
    const messages = async function* (source: typeof response.message) {
      try {
        yield* source
      } catch (error) {
        report(error, signal)
      }
    }
    return { ...response, message: messages(response.message) }
  }
}

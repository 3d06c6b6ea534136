import { setMaxListeners } from 'node:events'
import type { ConnectionOptions } from 'node:tls'

import {
  Code,
  ConnectError,
  type ConnectRouter,
  createRouterTransport,
  type Interceptor,
  type Transport,
} from '@connectrpc/connect'
import { createGrpcTransport } from '@connectrpc/connect-node'

import { parseAddress } from './address.ts'
import { ClientSession } from './client-session.ts'

/** How `openChannel` reaches a server. */
export interface ChannelOptions {
  /** `host:port`, `[IPv6]:port` or `unix:/absolute/path`. */
  readonly address: string
  /** What to trust and what to show. Clear text without it. */
  readonly tls?: ChannelTls
  /** Milliseconds for connecting, TLS included. @defaultValue 3000 */
  readonly connectTimeoutMs?: number
  /** Milliseconds without a call after which the connection is closed. The next call opens a new one. @defaultValue 120000 */
  readonly idleTimeoutMs?: number
  /** Milliseconds between keep-alive pings. Go servers punish less than five minutes. @defaultValue 310000 */
  readonly pingIntervalMs?: number
  /** Milliseconds that a ping, or a sign of life, may take before the connection counts as dead. @defaultValue 20000 */
  readonly pingTimeoutMs?: number
  /** Largest message that is taken or sent, in bytes. Costs up to twice this much memory per call. @defaultValue 65 MiB */
  readonly messageBytesMax?: number
}

/** Certificates of a client, PEM. */
export interface ChannelTls {
  /** Who may have signed the server's certificate. The system's list without it. */
  readonly ca?: string | Uint8Array
  /** Own certificate and key, for a server that asks for one. */
  readonly cert?: string | Uint8Array
  readonly key?: string | Uint8Array
  /** Name that the server's certificate must carry, when it is not the host of the address. */
  readonly serverName?: string
}

/**
 * A gRPC connection that Connect's `createClient()` takes.
 *
 * Two things to know about Connect's clients: **leaving a `for await` loop over a response does not end the call**, only its
 * `signal` does, so every streaming call needs one that is aborted in a `finally`; and `timeoutMs` must be a whole number below 10⁸, is
 * sent as `grpc-timeout`, and holds for the whole stream.
 */
export interface Channel extends Transport {
  /** As given, or `local`. */
  readonly address: string
  /**
   * Calls back when the server takes leave or a connection breaks, for those who make no call at that time: the server may come back with an empty memory. Not
   * when the connection closes because it is idle. Absent where there is no connection.
   */
  onLost?(listener: () => void): void
  /** Resolves when the server gives a sign of life, over a new connection if there is none; see `signOfLife`. Rejects with `Unavailable`. Absent where there is no connection. */
  ping?(): Promise<void>
  /** Ends all calls and connections at once. Later calls fail with `Unavailable`. Calling it again does nothing. */
  close(): void
}

/** Address of a channel that stays in this process. */
export const localAddress = 'local'
/** Room for a piece of 64 MiB in one message. */
const messageBytesMaxDefault = 65 * 1024 * 1024

/**
 * Makes a channel to a gRPC server. Connects when the first call is made, and again when needed; keeps the process alive only during calls.
 *
 * Throws a `TypeError` for an address that cannot be read. Calls reject with a `ConnectError`, see `rpcError`.
 *
 * @example
 * ```ts
 * const channel = openChannel({ address: '10.0.0.1:8002' })
 * const client = createClient(Scheduler, channel)
 * await client.announceHost({ host }, { timeoutMs: 10_000 })
 * channel.close()
 * ```
 */
export function openChannel(options: ChannelOptions): Channel {
  const sessionManager = new ClientSession(parseAddress(options.address), {
    connectTimeoutMs: options.connectTimeoutMs ?? 3_000,
    idleTimeoutMs: options.idleTimeoutMs ?? 120_000,
    pingIntervalMs: options.pingIntervalMs ?? 310_000,
    pingTimeoutMs: options.pingTimeoutMs ?? 20_000,
    tls: options.tls === undefined ? undefined : tlsOptions(options.tls),
  })
  const messageBytesMax = options.messageBytesMax ?? messageBytesMaxDefault
  const transport = createGrpcTransport({
    baseUrl: sessionManager.authority,
    sessionManager,
    readMaxBytes: messageBytesMax,
    writeMaxBytes: messageBytesMax,
    // Upstream never compresses, and without it nothing can swell on the way in.
    acceptCompression: [],
  })
  return {
    ...transport,
    address: options.address,
    onLost: (listener) => sessionManager.onLost(listener),
    ping: () => sessionManager.ping(),
    close: () => sessionManager.close(),
  }
}

/**
 * Makes a channel to services in this process, without a port. Messages are still encoded and decoded, so both sides own what they get.
 *
 * `close()` also aborts the handlers' signals.
 */
export function localChannel(routes: (router: ConnectRouter) => void): Channel {
  const lifetime = new AbortController()
  // Every call listens, and Node 20 prints a warning from the eleventh on.
  setMaxListeners(0, lifetime.signal)
  const closed = (): ConnectError => new ConnectError('Local channel is closed', Code.Unavailable)
  const refuseWhenClosed: Interceptor = (next) => (request) => {
    if (lifetime.signal.aborted) throw closed()
    return next(request)
  }
  const transport = createRouterTransport(routes, {
    router: { shutdownSignal: lifetime.signal },
    transport: { interceptors: [refuseWhenClosed] },
  })
  return { ...transport, address: localAddress, close: () => lifetime.abort(closed()) }
}

function tlsOptions({ ca, cert, key, serverName }: ChannelTls): ConnectionOptions {
  return {
    minVersion: 'TLSv1.2',
    ...(ca === undefined ? {} : { ca: pem(ca) }),
    ...(cert === undefined ? {} : { cert: pem(cert) }),
    ...(key === undefined ? {} : { key: pem(key) }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  }
}

function pem(value: string | Uint8Array): string | Buffer {
  return typeof value === 'string' ? value : Buffer.from(value)
}

import type { SecureServerOptions, ServerOptions } from 'node:http2'

import type { ConnectRouter } from '@connectrpc/connect'

import { frameBytesMax, streamWindowBytes } from './connection.ts'
import type { ListenTarget } from './listen.ts'

/** What `serveRpc` serves, and how much of it. */
export type RpcServerOptions = ListenTarget & {
  /** Registers the services. A method that streams its answer cannot set response headers: they are sent before it runs. */
  readonly routes: (router: ConnectRouter) => void
  /** Serves TLS instead of clear text; with `ca`, only to clients that show a certificate of it. */
  readonly tls?: RpcServerTls
  /** Destroys the server when it fires. */
  readonly signal?: AbortSignal
  /** Told of what has no other way out: a broken connection, a handler that threw something else than a `ConnectError`. */
  readonly onError?: (error: unknown) => void
  /**
   * When the headers of a streamed answer leave: `'early'` before the handler runs, or `'first'` with its first message, so that what fails before is an
   * answer without content. Rust clients over TCP wait 10 s for headers; the tools on a unix socket wait as long as the download may take, and take a failure
   * that comes after the headers for one in the middle of the content. @defaultValue 'early'
   */
  readonly streamHeaders?: 'early' | 'first'
  /** Bounds. */
  readonly limits?: Partial<RpcServerLimits>
}

/** Certificates of a server, PEM. */
export interface RpcServerTls {
  readonly cert: string | Uint8Array
  readonly key: string | Uint8Array
  /** Who may have signed the certificates of clients. */
  readonly ca?: string | Uint8Array
}

/** Bounds of one server. */
export interface RpcServerLimits {
  /**
   * Connections at once. One more takes the place of the oldest that asks for nothing, else of the newest of the address that has most, and is dropped when
   * that is its own. Each may cost 4 MiB while its requests are not read. @defaultValue 1024
   */
  readonly connectionsMax: number
  /** Calls at once on one connection. @defaultValue 1024 */
  readonly connectionCallsMax: number
  /**
   * Calls at once on the server. One more takes the place of the oldest whose request has not come, else of the newest of the address that has most, and ends
   * with `ResourceExhausted` when that is its own. @defaultValue 4096
   */
  readonly callsMax: number
  /** Bytes of one request message. @defaultValue 4 MiB */
  readonly requestBytesMax: number
  /** Bytes of one response message. @defaultValue 65 MiB, a piece of 64 MiB and its frame */
  readonly responseBytesMax: number
  /** Bytes of the headers of one request. @defaultValue 16 KiB */
  readonly headerBytesMax: number
  /** Milliseconds for TLS and for the first frame of a connection. @defaultValue 10000 */
  readonly handshakeTimeoutMs: number
  /** Milliseconds that the first message of a call may take; whoever sends it byte by byte is cut. @defaultValue 30000 */
  readonly requestTimeoutMs: number
  /** Milliseconds between pings. @defaultValue 300000 */
  readonly pingIntervalMs: number
  /** Milliseconds that a ping may take before the connection counts as dead. @defaultValue 20000 */
  readonly pingTimeoutMs: number
  /** Milliseconds that `close()` waits for calls to finish. @defaultValue 5000 */
  readonly closeTimeoutMs: number
}

/** The bounds that hold when no others are given. */
export const rpcServerLimits: RpcServerLimits = Object.freeze({
  connectionsMax: 1024,
  connectionCallsMax: 1024,
  callsMax: 4096,
  requestBytesMax: 4 * 1024 * 1024,
  responseBytesMax: 65 * 1024 * 1024,
  headerBytesMax: 16 * 1024,
  handshakeTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  pingIntervalMs: 300_000,
  pingTimeoutMs: 20_000,
  closeTimeoutMs: 5_000,
})

/** The bounds in the words of `node:http2`. */
export function http2Options(limits: RpcServerLimits): ServerOptions {
  return {
    settings: {
      initialWindowSize: streamWindowBytes,
      maxFrameSize: frameBytesMax,
      maxConcurrentStreams: limits.connectionCallsMax,
      maxHeaderListSize: limits.headerBytesMax,
    },
    // In MB. Counts what waits to be sent, and a connection that has more of it may start no call: room for a few large pieces.
    maxSessionMemory: 256,
  }
}

/** The certificates in the words of `node:tls`. */
export function tlsOptions(tls: RpcServerTls, limits: RpcServerLimits): SecureServerOptions {
  return {
    cert: pem(tls.cert),
    key: pem(tls.key),
    minVersion: 'TLSv1.2',
    handshakeTimeout: limits.handshakeTimeoutMs,
    ...(tls.ca === undefined
      ? {}
      : { ca: pem(tls.ca), requestCert: true, rejectUnauthorized: true }),
  }
}

function pem(value: string | Uint8Array): string | Buffer {
  return typeof value === 'string' ? value : Buffer.from(value)
}

import { Socket } from 'node:net'
import { createSecureContext, rootCertificates } from 'node:tls'
import type { Agent, Dispatcher, buildConnector } from 'undici'
import { abortable } from '../util/scope.ts'
import { type HttpClient, loadHttpClient } from './http-client.ts'

/** Most bytes that all fields of one answer may have. Signed redirect targets run to a few KiB. */
export const responseHeaderBytesMax: number = 32 * 1024
/** Most origins (scheme, host, port) that connections are open to at once: what redirects lead to is the origins' choice. */
export const originsMax = 1024
/** Most bytes read of a body that nobody wants, to keep its connection usable; a longer one costs the connection. */
export const droppedBytesMax: number = 16 * 1024

/** Certificates and keys in PEM form. */
export interface HttpTls {
  /** Authorities that are trusted besides those of Node. */
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[]
  /** Certificate of this client with its chain, PEM. */
  readonly cert?: string | Uint8Array
  /** Key of `cert`, PEM. */
  readonly key?: string | Uint8Array
  /** The name that the certificates of all origins must carry, instead of the one in the URL. Redirects to other hosts fail then. */
  readonly servername?: string
}

/** Settings of the connections. */
export interface ConnectionSettings {
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly keepAliveMs: number
  readonly connectionsPerOrigin: number
  readonly tls: HttpTls | undefined
}

/** An answer whose body has not been read yet. */
export type Response = Dispatcher.ResponseData

/**
 * Connections to origins, over undici. It adds what the pool lacks: giving up while a connection is being made. By itself undici notices an aborted request only
 * once it is connected, and keeps the process alive until then (nodejs/undici #386, #4405).
 */
export class Connections {
  readonly #settings: Omit<ConnectionSettings, 'tls'>
  /** Parsed at once, so that wrong certificates are told of when they are given. */
  readonly #secure: object
  /** Made with the first request. */
  #client: Promise<Client> | undefined
  #closed = false
  /** Sockets that are being connected, with their origin. */
  readonly #connecting = new Map<Socket, string>()
  /** How many requests wait for an answer, by origin. */
  readonly #waiting = new Map<string, number>()

  constructor(settings: ConnectionSettings) {
    const { tls, ...others } = settings
    this.#settings = others
    this.#secure = secure(tls)
  }

  /** Sends a GET and waits for the fields of the answer. Waits while all connections to the origin are taken. */
  async get(
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Response> {
    signal.throwIfAborted()
    const { origin } = url
    const path = url.pathname + url.search
    this.#count(origin, 1)
    try {
      const { agent, request } = await abortable(this.#ready(), signal)
      return await abortable(
        request(agent, { origin, path, method: 'GET', headers, signal }),
        signal,
      )
    } finally {
      this.#count(origin, -1)
      if (signal.aborted && !this.#waiting.has(origin)) this.#giveUp(origin)
    }
  }

  /** Ends every connection, in use or not. */
  async close(): Promise<void> {
    this.#closed = true
    this.#giveUp()
    const client = await this.#client?.catch(() => undefined) // it has told those who asked
    await client?.agent.destroy()
  }

  async #ready(): Promise<Client> {
    if (this.#closed) throw Object.assign(new Error('Closed'), { code: 'UND_ERR_DESTROYED' })
    this.#client ??= this.#start().catch((error: unknown) => {
      this.#client = undefined
      throw error
    })
    return await this.#client
  }

  async #start(): Promise<Client> {
    const { Agent: AgentOf, buildConnector: connectorOf, request } = await loadHttpClient()
    const settings = this.#settings
    const connect = connectorOf({
      timeout: settings.connectTimeoutMs,
      rejectUnauthorized: true, // said aloud, so that NODE_TLS_REJECT_UNAUTHORIZED has no effect
      ...this.#secure,
    })
    const agent = new AgentOf({
      connect: (options, callback) => this.#connect(connect, options, callback),
      connections: settings.connectionsPerOrigin,
      pipelining: 1,
      maxOrigins: originsMax,
      maxHeaderSize: responseHeaderBytesMax,
      headersTimeout: settings.headersTimeoutMs,
      bodyTimeout: settings.idleTimeoutMs,
      keepAliveTimeout: settings.keepAliveMs,
      keepAliveMaxTimeout: settings.keepAliveMs,
    })
    return { agent, request }
  }

  #connect(
    connect: buildConnector.connector,
    options: buildConnector.Options,
    callback: buildConnector.Callback,
  ): void {
    // Typed as void, but it is the socket; were it not, only the giving up would be lost.
    const socket: unknown = connect(options, (...result) => {
      if (socket instanceof Socket) this.#connecting.delete(socket)
      callback(...result)
    })
    if (socket instanceof Socket) {
      this.#connecting.set(socket, `${options.protocol}//${options.host}`)
    }
  }

  #count(origin: string, change: number): void {
    const waiting = (this.#waiting.get(origin) ?? 0) + change
    if (waiting === 0) this.#waiting.delete(origin)
    else this.#waiting.set(origin, waiting)
  }

  /** Ends the attempts to connect to this origin, or to any. */
  #giveUp(origin?: string): void {
    for (const [socket, its] of this.#connecting) {
      if (origin !== undefined && origin !== its) continue
      socket.destroy(new Error('Nobody waits for this connection'))
    }
  }
}

interface Client {
  readonly agent: Agent
  readonly request: HttpClient['request']
}

/** Frees the connection of an answer whose body is not wanted. Reads a bounded rest, in the background. */
export function drop(response: Response): void {
  void response.body.dump({ limit: droppedBytesMax })
}

function secure(tls: HttpTls | undefined): object {
  if (tls === undefined) return {}
  const { ca, cert, key, servername } = tls
  const own = ca === undefined ? [] : Array.isArray(ca) ? ca : [ca]
  // Made once: with a list of authorities in the connect options, all of them would be parsed again for each connection.
  const secureContext = createSecureContext({
    ...(ca === undefined ? {} : { ca: [...rootCertificates, ...own.map(pem)] }),
    ...(cert === undefined ? {} : { cert: pem(cert) }),
    ...(key === undefined ? {} : { key: pem(key) }),
  })
  return servername === undefined ? { secureContext } : { secureContext, servername }
}

function pem(value: string | Uint8Array): string {
  return typeof value === 'string' ? value : new TextDecoder().decode(value)
}

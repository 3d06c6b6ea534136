import { Agent as HttpAgent, type ClientRequest, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { createSecureContext, rootCertificates } from 'node:tls'
import { setImmediate as turn } from 'node:timers/promises'
import { urlToHttpOptions } from 'node:url'
import { Scope } from '../util/scope.ts'
import { type AskSettings, type Response, ask } from './http-ask.ts'
import { HttpFault } from './http-fault.ts'
import { Line, LineAgent } from './line.ts'
import { OriginLanes } from './origin-lanes.ts'

/** Most bytes that all fields of one answer may have. Signed redirect targets run to a few KiB. */
export const responseHeaderBytesMax: number = 32 * 1024

/** Bytes of a connection that are read ahead of whoever reads the body: what one read of the socket gives at most. */
const readAheadBytes = 64 * 1024

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
export interface ConnectionSettings extends AskSettings {
  readonly keepAliveMs: number
  readonly connectionsPerOrigin: number
  readonly tls: HttpTls | undefined
  /** Whether bytes can go past the parser, where nothing encrypts them. */
  readonly native: boolean
}

/** Connections to origins, over Node's own client. It adds time limits, and a line for those who wait that forgets who has left. */
export class Connections {
  readonly #asking: AskSettings
  readonly #http: HttpAgent
  readonly #https: HttpsAgent
  readonly #lanes: OriginLanes
  /** Fires when the source is closed. */
  readonly #life = new AbortController()
  /** Until kept connections whose bodies went by have shown what lies behind them. */
  #settled: Promise<void> | undefined

  constructor(settings: ConnectionSettings) {
    const { tls, keepAliveMs, connectionsPerOrigin, native, ...asking } = settings
    this.#asking = asking
    this.#lanes = new OriginLanes(connectionsPerOrigin)
    const common = {
      keepAlive: true,
      timeout: keepAliveMs,
      maxSockets: connectionsPerOrigin,
      maxFreeSockets: connectionsPerOrigin,
      highWaterMark: readAheadBytes,
    }
    this.#http = native ? new LineAgent(common) : new HttpAgent(common)
    this.#https = new HttpsAgent({
      ...common,
      rejectUnauthorized: true, // said aloud, so that NODE_TLS_REJECT_UNAUTHORIZED has no effect
      ALPNProtocols: ['http/1.1'],
      ...secure(tls),
    })
  }

  /** Sends a GET and waits for the fields of the answer. Waits while all connections to the origin are taken. The signal ends the body too. */
  async get(
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<Response> {
    // Each that the origin closes as it is used again is one that was kept, and there are no more of them.
    for (let left = this.#http.maxFreeSockets; ; left--) {
      try {
        return await this.#ask(url, headers, signal)
      } catch (error) {
        const code = error instanceof HttpFault ? error.code : undefined
        // An origin that sends more than it says may have done so on each of them.
        if (code === 'STRAY_BYTES') return await this.#ask(url, headers, signal, true)
        if (code !== 'STALE_CONNECTION' || left === 0) throw error
      }
    }
  }

  /** Ends every connection, in use or not. */
  close(): Promise<void> {
    this.#life.abort(new HttpFault('SOURCE_CLOSED'))
    this.#http.destroy()
    this.#https.destroy()
    return Promise.resolve()
  }

  async #ask(
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    anew = false,
  ): Promise<Response> {
    const scope = new Scope([signal, this.#life.signal])
    const request = await this.#begin(url, headers, scope, anew)
    return ask(request, this.#asking, scope.signal)
  }

  /** A request that is not sent yet. Its place and the scope are let go when it is closed. */
  async #begin(
    url: URL,
    headers: Readonly<Record<string, string>>,
    scope: Scope,
    anew: boolean,
  ): Promise<ClientRequest> {
    let leave = (): void => undefined
    try {
      scope.signal.throwIfAborted()
      leave = await this.#lanes.enter(url.origin, scope.signal)
      await this.#settled
      scope.signal.throwIfAborted()
      if (anew) this.#forget(url)
      const request = this.#request(url, headers)
      request.once('close', () => {
        scope[Symbol.dispose]()
        if (request.socket instanceof Line && request.socket.passed()) this.#settle()
        // In the same turn its connection goes back to the pool, or is gone.
        process.nextTick(leave)
      })
      return request
    } catch (error) {
      leave()
      scope[Symbol.dispose]()
      throw error
    }
  }

  /**
   * An origin may send more than it said. Of a body that went by, that is still in the kernel, and must be read before the next request, or it is taken for the answer.
   * Reading begins in the first turn of the event loop from now, and what is there is read in the second.
   */
  #settle(): void {
    const settled = turn().then(turn)
    this.#settled = settled
    void settled.then(() => {
      if (this.#settled === settled) this.#settled = undefined
    })
  }

  /** Ends the connections to this origin that are kept: the next request has a new one. */
  #forget(url: URL): void {
    const agent = url.protocol === 'https:' ? this.#https : this.#http
    const { hostname: host, port } = urlToHttpOptions(url)
    // That of HTTPS goes on with the settings of the agent.
    const name = this.#http.getName({ host, port: port ?? (url.protocol === 'https:' ? 443 : 80) })
    for (const [key, sockets = []] of Object.entries(agent.freeSockets)) {
      if (key.startsWith(name)) for (const socket of sockets) socket.destroy()
    }
  }

  #request(url: URL, headers: Readonly<Record<string, string>>): ClientRequest {
    const secured = url.protocol === 'https:'
    const request = (secured ? httpsRequest : httpRequest)(url, {
      agent: secured ? this.#https : this.#http,
      headers,
      insecureHTTPParser: false,
      maxHeaderSize: responseHeaderBytesMax,
    })
    // All are looked at, so that none can hide behind others; their bytes are bounded.
    request.maxHeadersCount = 0
    request.once('socket', (socket) => {
      if (!request.reusedSocket) socket.once('close', this.#lanes.hold(url.origin))
    })
    return request
  }
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

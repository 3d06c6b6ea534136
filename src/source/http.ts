import type { OriginStat } from '../task/ports.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import { loadFlow } from '../util/flow.ts'
import { describe, flag, refuseUnknown, text, wholeNumber } from '../util/settings.ts'
import { Connections, type HttpTls } from './connections.ts'
import type { Exchanger } from './http-exchange.ts'
import { HttpReading } from './http-reading.ts'
import { httpStat } from './http-stat.ts'
import { Retries, type RetryPolicy } from './retries.ts'
import { markPassing, type Source, type SourceInto, type SourceRequest } from './source.ts'
import { userAgent } from './user-agent.ts'

/** Settings of the `http` and `https` source. */
export interface HttpOptions {
  /** Private authorities and a client certificate. Certificates are always verified. @defaultValue the authorities of Node */
  readonly tls?: HttpTls
  /** Milliseconds for name lookup, connection and TLS handshake together. @defaultValue 10 000 */
  readonly connectTimeoutMs?: number
  /** Milliseconds from the request to the complete fields of the answer. @defaultValue 60 000 */
  readonly headersTimeoutMs?: number
  /** Milliseconds without a byte, while bytes are wanted, after which the connection counts as broken. @defaultValue 60 000 */
  readonly idleTimeoutMs?: number
  /** Milliseconds that an unused connection is kept. @defaultValue 4000, which is below the five seconds of common servers */
  readonly keepAliveMs?: number
  /** Most connections to one origin; further requests wait. Each costs a socket and up to 192 KiB. @defaultValue 32 */
  readonly connectionsPerOrigin?: number
  /** Most failed attempts in a row, without progress, after the first. @defaultValue 4 */
  readonly retriesMax?: number
  /** Whether redirects from https to http are followed. @defaultValue false */
  readonly allowDowngrade?: boolean
  /** The `User-Agent` where the request headers have none. @defaultValue `dragonfly-peer/<version>` */
  readonly userAgent?: string
  /** Whether the addon of `native/flow` moves what comes over plain HTTP to where it is kept, where it loads. Without it JavaScript does, at half the speed. @defaultValue true */
  readonly native?: boolean
  /** Measures the pauses between attempts. @defaultValue `systemClock` */
  readonly clock?: Clock
  /** From 0 up to 1: spreads the pauses. @defaultValue `Math.random` */
  readonly random?: () => number
}

/** Defaults of `HttpOptions`. */
export const httpDefaults: Readonly<Required<Omit<HttpOptions, 'tls' | 'clock' | 'random'>>> =
  Object.freeze({
    connectTimeoutMs: 10_000,
    headersTimeoutMs: 60_000,
    idleTimeoutMs: 60_000,
    keepAliveMs: 4000,
    connectionsPerOrigin: 32,
    retriesMax: 4,
    allowDowngrade: false,
    native: true,
    userAgent,
  })

const hourMs = 3_600_000

/**
 * The source for `http:` and `https:` URLs. GET requests only, for signed URLs forbid HEAD; HTTP/1.1; no content coding. User info in a URL becomes basic
 * authentication. Redirects are followed, at most 10, and never with the user's headers to another origin. Faults that may pass (broken connections, time-outs,
 * 408, 425, 429, 500, 502, 503, 504) are tried again with growing pauses; a read goes on where it broke, after checking that the version is the same.
 *
 * @example
 * ```ts
 * const source = http({ tls: { ca: await readFile('ca.pem') } })
 * ```
 * @throws TypeError, RangeError for wrong options; the errors of OpenSSL for unusable certificates
 */
export function http(options: HttpOptions = {}): Source {
  return new HttpSource(options)
}

class HttpSource implements Source {
  static {
    markPassing(HttpSource.prototype)
  }

  readonly scheme: readonly string[] = Object.freeze(['http', 'https'])
  readonly #policy: RetryPolicy
  readonly #by: Exchanger

  constructor(options: HttpOptions) {
    refuseUnknown('http', options, [...Object.keys(httpDefaults), 'tls', 'clock', 'random'])
    const { tls, clock = systemClock, random = Math.random } = options
    const wanted = { ...httpDefaults, ...withoutUndefined(options) }
    const whole = (name: keyof typeof httpDefaults, min: number, max: number): number =>
      wholeNumber(`http.${name}`, wanted[name], min, max)
    const flow = loadFlow()
    const native = flag('http.native', wanted.native) && flow !== undefined
    this.#policy = { retriesMax: whole('retriesMax', 0, 100), clock, random }
    const release =
      flow === undefined ? undefined : (chunk: Uint8Array): void => void flow.release(chunk)
    this.#by = {
      connections: new Connections({
        native,
        release,
        connectTimeoutMs: whole('connectTimeoutMs', 1, hourMs),
        headersTimeoutMs: whole('headersTimeoutMs', 1, hourMs),
        idleTimeoutMs: whole('idleTimeoutMs', 1, hourMs),
        keepAliveMs: whole('keepAliveMs', 1, hourMs),
        connectionsPerOrigin: whole('connectionsPerOrigin', 1, 1024),
        tls: tls === undefined ? undefined : checkedTls(tls),
      }),
      clock,
      userAgent: text('http.userAgent', wanted.userAgent, 256),
      allowDowngrade: flag('http.allowDowngrade', wanted.allowDowngrade),
      release,
    }
  }

  stat(request: SourceRequest): Promise<OriginStat> {
    return httpStat(this.#by, new Retries(this.#policy, request.signal), request)
  }

  read(request: SourceInto): AsyncIterable<Uint8Array> {
    return new HttpReading(this.#by, new Retries(this.#policy, request.signal), request).chunks()
  }

  close(): Promise<void> {
    return this.#by.connections.close()
  }
}

function checkedTls(tls: HttpTls): HttpTls {
  refuseUnknown('http.tls', tls, ['ca', 'cert', 'key', 'servername'])
  for (const [name, value] of Object.entries(tls)) {
    const parts: readonly unknown[] = name === 'ca' && Array.isArray(value) ? value : [value]
    for (const part of parts) {
      if (part === undefined || typeof part === 'string') continue
      if (part instanceof Uint8Array && name !== 'servername') continue
      throw new TypeError(`http.tls.${name} must be PEM text, got ${describe(part)}`)
    }
  }
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw new TypeError('http.tls.cert and http.tls.key go together')
  }
  return tls
}

function withoutUndefined<T extends object>(options: T): Partial<T> {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  return Object.fromEntries(given) as Partial<T>
}

import { once } from 'node:events'
import {
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestListener,
  type Server,
  type ServerResponse,
  createServer,
} from 'node:http'
import { type ServerOptions, createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { gate } from './gate.ts'

/** What lies at one path. */
export interface Thing {
  bytes: Uint8Array
  etag?: string
  lastModified?: string
  /** @defaultValue true */
  ranges?: boolean
  /** The first answers with content break off after so many bytes of their body. */
  breaks?: number[]
  /** What lies here after the first answer with content. */
  next?: Thing
}

/** A request that came in. */
export interface Seen {
  readonly path: string
  readonly headers: IncomingHttpHeaders
}

/** An HTTP origin on a free port of 127.0.0.1: things by path, or a handler for what a well-behaved server would not do. */
export class RangeServer implements AsyncDisposable {
  readonly things: Map<string, Thing> = new Map<string, Thing>()
  readonly handlers: Map<string, RequestListener> = new Map<string, RequestListener>()
  readonly seen: Seen[] = []
  /** Connections accepted so far. */
  accepted = 0
  readonly #server: Server
  readonly #scheme: string

  private constructor(server: Server, scheme: string) {
    this.#server = server
    this.#scheme = scheme
    server.on(scheme === 'https' ? 'secureConnection' : 'connection', () => this.accepted++)
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      const path = request.url ?? ''
      this.seen.push({ path, headers: request.headers })
      const handler = this.handlers.get(path)
      if (handler !== undefined) handler(request, response)
      else this.answer(request, response)
    })
  }

  /** Answers with the thing at the path of the request. */
  answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? ''
    const thing = this.things.get(path)
    answer(request, response, thing)
    if (thing?.next !== undefined && response.statusCode < 300) this.things.set(path, thing.next)
  }

  static async start(tls?: ServerOptions): Promise<RangeServer> {
    const server = tls === undefined ? createServer() : createTlsServer(tls)
    const started = new RangeServer(server, tls === undefined ? 'http' : 'https')
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return started
  }

  get origin(): string {
    return `${this.#scheme}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  url(path: string): string {
    return this.origin + path
  }

  /** Sets a handler and gives its URL. */
  on(path: string, handler: RequestListener): string {
    this.handlers.set(path, handler)
    return this.url(path)
  }

  /** Sets a thing and gives its URL. */
  put(path: string, thing: Thing): string {
    this.things.set(path, thing)
    return this.url(path)
  }

  /** Resolves when no connection is open any more. */
  async idle(): Promise<void> {
    await gate(
      () =>
        new Promise<boolean>((resolve) => {
          this.#server.getConnections((_, count) => resolve(count === 0))
        }),
    )
  }

  connections(): Promise<number> {
    return new Promise((resolve) => this.#server.getConnections((_, count) => resolve(count)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  thing: Thing | undefined,
): void {
  if (thing === undefined) {
    response.writeHead(404).end('there is nothing here')
    return
  }
  const { bytes, etag, lastModified, ranges = true } = thing
  if (etag !== undefined) response.setHeader('etag', etag)
  if (lastModified !== undefined) response.setHeader('last-modified', lastModified)
  const match = request.headers['if-match']
  if (match !== undefined && match !== etag) {
    response.writeHead(412).end()
    return
  }
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
  if (!ranges || range === null) {
    response.writeHead(200, { 'content-length': bytes.length })
    send(response, bytes, thing)
    return
  }
  const first = Number(range[1])
  const last = Math.min(range[2] === '' ? Infinity : Number(range[2]), bytes.length - 1)
  if (first > last) {
    response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end('no such part')
    return
  }
  response.writeHead(206, {
    'content-range': `bytes ${first}-${last}/${bytes.length}`,
    'content-length': last - first + 1,
  })
  send(response, bytes.subarray(first, last + 1), thing)
}

function send(response: ServerResponse, body: Uint8Array, thing: Thing): void {
  const length = thing.breaks?.shift()
  if (length === undefined) response.end(body)
  else response.write(body.subarray(0, length), () => response.destroy())
}

/** Answers every request the same. */
export function fixed(
  status: number,
  fields: OutgoingHttpHeaders,
  body: Uint8Array | string = '',
): RequestListener {
  return (_, response) => {
    response.writeHead(status, fields).end(body)
  }
}

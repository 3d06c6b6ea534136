import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { cleanup, type Ending } from './cleanup.ts'
import { Content } from './content.ts'
import { send } from './origin-answer.ts'
import type { OriginOptions, OriginRequest } from './origin-options.ts'
import { parseRange } from './origin-range.ts'

export type { OriginAnswer, OriginOptions, OriginRequest } from './origin-options.ts'

/** What an origin counted. */
export interface OriginCounts {
  /** GETs of everything. */
  readonly full: number
  /** GETs of a part. */
  readonly ranged: number
  /** HEADs and GETs of one byte. */
  readonly stats: number
  /** Bytes of content given to sockets. */
  readonly bytes: number
  /** Connections accepted. */
  readonly connections: number
  /** Most requests open at once. */
  readonly atOnce: number
}

/** A real HTTP server on 127.0.0.1 that serves one content under every path, counts, and misbehaves on demand. It closes when the test ends. */
export async function origin(t: Ending, options: OriginOptions = {}): Promise<Origin> {
  const made = new Origin(options)
  cleanup(t, () => made.close())
  await made.listen()
  return made
}

/** See `origin()`. */
export class Origin {
  /** All requests since the start, in order. */
  readonly requests: OriginRequest[] = []
  readonly #options: OriginOptions
  readonly #server: Server
  readonly #waiting = new Set<() => void>()
  #content: Content
  #modifiedMs = Date.UTC(2026, 0, 1)
  #connections = 0
  #atOnce = 0

  constructor(options: OriginOptions) {
    this.#options = options
    this.#content = new Content(options.length ?? 1 << 20, options.seed ?? 1)
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      // A failure of the test's own script must be seen: it becomes an uncaught error.
      void this.#answer(request, response)
    }
    const { tls } = options
    this.#server = tls === undefined ? createServer(answer) : createTlsServer(tls, answer)
    this.#server.on('connection', () => {
      this.#connections += 1
    })
  }

  /** Opens a free port. */
  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  /** Breaks what is open and closes the port. */
  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  /** The address of the content; any other path leads to it too. */
  get url(): string {
    return this.urlOf('/content.bin')
  }

  /** The address of a path. */
  urlOf(path: string): string {
    const scheme = this.#options.tls === undefined ? 'http' : 'https'
    return `${scheme}://127.0.0.1:${this.port}${path}`
  }

  /** The port. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** What is served now. */
  get content(): Content {
    return this.#content
  }

  /** The validator of what is served now. */
  get etag(): string {
    return `"${this.#content.seed}-${this.#content.length}"`
  }

  /** Totals since the start. */
  get counts(): OriginCounts {
    const gets = this.requests.filter((request) => request.method === 'GET')
    return {
      full: gets.filter((request) => request.kind === 'full').length,
      ranged: gets.filter((request) => request.kind === 'ranged').length,
      stats: this.requests.filter((request) => request.kind === 'stat').length,
      bytes: this.requests.reduce((sum, request) => sum + request.bytes, 0),
      connections: this.#connections,
      atOnce: this.#atOnce,
    }
  }

  /** From now on other content is served, with other validators. Answers under way go on with the old content. */
  change(to: { readonly seed?: number; readonly length?: number }): void {
    this.#content = new Content(
      to.length ?? this.#content.length,
      to.seed ?? this.#content.seed + 1,
    )
    this.#modifiedMs += 60_000
  }

  /** Resolves when the condition holds; it is tried whenever a request comes, sends bytes or ends. */
  async until(condition: (origin: this) => boolean): Promise<void> {
    while (!condition(this)) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    // A peer that goes away is an ordinary event here; `state` says so.
    response.on('error', () => undefined)
    const content = this.#content
    const validators = this.#validators()
    const request = this.#record(incoming, content)
    const gone = new AbortController()
    const { socket } = incoming
    // An answer that waits behind another one of its connection has no socket yet and hears nothing of its end.
    const onClose = (): void => {
      socket.off('close', onClose)
      response.off('close', onClose)
      request.state = response.writableFinished ? 'whole' : 'broken'
      gone.abort()
      this.#changed()
    }
    socket.on('close', onClose)
    response.on('close', onClose)
    this.#changed()
    const script = await this.#options.answer?.(request)
    await send({
      request,
      response,
      content,
      validators,
      script: script ?? { is: 'honest' },
      options: this.#options,
      onBytes: () => this.#changed(),
      gone: gone.signal,
    })
  }

  #record(incoming: IncomingMessage, content: Content): OriginRequest {
    const { method = '', url = '', headers } = incoming
    const range =
      this.#options.ranges === false ? undefined : parseRange(headers.range, content.length)
    const oneByte = headers.range === 'bytes=0-0'
    const request: OriginRequest = {
      number: this.requests.length,
      method,
      url,
      headers,
      range: range === 'unsatisfiable' ? undefined : range,
      kind: method === 'HEAD' || oneByte ? 'stat' : headers.range === undefined ? 'full' : 'ranged',
      status: 0,
      bytes: 0,
      state: 'open',
    }
    this.requests.push(request)
    const open = this.requests.filter((other) => other.state === 'open').length
    this.#atOnce = Math.max(this.#atOnce, open)
    return request
  }

  #validators(): Record<string, string> {
    const { etag = true, lastModified = true } = this.#options
    const validators: Record<string, string> = {}
    if (etag) validators['etag'] = this.etag
    if (lastModified) validators['last-modified'] = new Date(this.#modifiedMs).toUTCString()
    return validators
  }

  #changed(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }
}

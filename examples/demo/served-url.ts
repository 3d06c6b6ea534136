import { type FileHandle, open } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'
import { fileFacts } from './file-facts.ts'
import type { FileFacts } from './messages.ts'

/** Request headers that are passed on. */
const asked = ['range', 'if-range', 'if-match'] as const
/** Response headers that are passed on. */
const told = [
  'accept-ranges',
  'content-length',
  'content-range',
  'content-type',
  'etag',
  'last-modified',
] as const

/**
 * A URL of another server. Its bytes are passed on and counted, and kept at their place in a file: what the digest of that file is when all has
 * passed, the origin's content has.
 */
export class ServedUrl {
  readonly length: number | undefined
  readonly #url: string
  readonly #path: string
  readonly #copy: FileHandle
  #sentBytes = 0

  private constructor(url: string, length: number | undefined, path: string, copy: FileHandle) {
    this.#url = url
    this.length = length
    this.#path = path
    this.#copy = copy
  }

  /** @throws Error when the URL does not answer well */
  static async open(url: string, path: string): Promise<ServedUrl> {
    const { ok, status, headers } = await fetch(url, {
      method: 'HEAD',
      headers: { 'accept-encoding': 'identity' },
    })
    if (!ok) throw new Error(`${url} answers ${status}`)
    const length = headers.get('content-length')
    return new ServedUrl(
      url,
      length === null ? undefined : Number(length),
      path,
      await open(path, 'w'),
    )
  }

  /** Bytes of content passed on so far. */
  get sentBytes(): number {
    return this.#sentBytes
  }

  /** Asks the other server the same, and passes its answer on. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const headers = new Headers({ 'accept-encoding': 'identity' })
    for (const name of asked) {
      const value = request.headers[name]
      if (value !== undefined) headers.set(name, String(value))
    }
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const answer = await fetch(this.#url, {
      method: request.method ?? 'GET',
      headers,
      signal: gone.signal,
    })
    response.statusCode = answer.status
    for (const name of told) {
      const value = answer.headers.get(name)
      if (value !== null) response.setHeader(name, value)
    }
    if (answer.body === null) {
      response.end()
      return
    }
    const range = /^bytes (\d+)-/.exec(answer.headers.get('content-range') ?? '')
    const content = Readable.fromWeb(answer.body as ReadableStream<Uint8Array>)
    if (!answer.ok) {
      await pipeline(content, response)
      return
    }
    const chunks = this.#passOn(content, Number(range?.[1] ?? 0))
    await pipeline(chunks, response)
  }

  async *#passOn(content: AsyncIterable<Uint8Array>, start: number): AsyncGenerator<Uint8Array> {
    let at = start
    for await (const chunk of content) {
      await this.#copy.write(chunk, 0, chunk.length, at)
      at += chunk.length
      this.#sentBytes += chunk.length
      yield chunk
    }
  }

  /** Length and digest of what has passed. */
  async facts(): Promise<FileFacts> {
    return fileFacts(this.#path)
  }

  /** Closes the file. */
  async close(): Promise<void> {
    await this.#copy.close()
  }
}

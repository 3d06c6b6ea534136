import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { fileFacts } from './file-facts.ts'
import type { FileFacts } from './messages.ts'

/** A file of this machine, served whole or in ranges (RFC 9110, section 14). */
export class ServedFile {
  readonly length: number
  readonly #path: string
  readonly #etag: string
  #sentBytes = 0

  private constructor(path: string, length: number, etag: string) {
    this.#path = path
    this.length = length
    this.#etag = etag
  }

  /** @throws Error when the path is not a file */
  static async open(path: string): Promise<ServedFile> {
    const facts = await stat(path)
    if (!facts.isFile()) throw new Error(`${path} is not a file`)
    return new ServedFile(path, facts.size, `"${facts.size}-${facts.mtimeMs}"`)
  }

  /** Bytes of content sent so far. */
  get sentBytes(): number {
    return this.#sentBytes
  }

  /** Answers GET and HEAD. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const headers = { etag: this.#etag, 'accept-ranges': 'bytes' }
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
    const start = Number(first ?? 0)
    const end = Math.min(
      last === undefined || last === '' ? this.length : Number(last) + 1,
      this.length,
    )
    if (first !== undefined && start >= end) {
      response.writeHead(416, { ...headers, 'content-range': `bytes */${this.length}` }).end()
      return
    }
    response.writeHead(first === undefined ? 200 : 206, {
      ...headers,
      'content-length': end - start,
      ...(first === undefined
        ? {}
        : { 'content-range': `bytes ${start}-${end - 1}/${this.length}` }),
    })
    if (request.method === 'HEAD' || start >= end) {
      response.end()
      return
    }
    const content = createReadStream(this.#path, { start, end: end - 1, highWaterMark: 1 << 18 })
    content.on('data', (chunk) => {
      this.#sentBytes += chunk.length
    })
    await pipeline(content, response)
  }

  /** Length and digest of the file. */
  async facts(): Promise<FileFacts> {
    return fileFacts(this.#path)
  }

  /** Nothing to free. */
  async close(): Promise<void> {}
}

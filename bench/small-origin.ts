import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A plain HTTP origin on loopback. `/LENGTH/NAME` is content of that length; every name is another task. */
export class SmallOrigin {
  readonly #server: Server
  readonly #bytes = Buffer.alloc(1 << 20, 'small ')

  constructor() {
    this.#server = createServer((request, response) => {
      const length = Number(request.url?.split('/')[1])
      const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
      const start = Number(from ?? 0)
      const end = Math.min(Number(to || length - 1), length - 1)
      const part = from === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${length}` }
      response.writeHead(from === undefined ? 200 : 206, {
        'content-length': end - start + 1,
        'accept-ranges': 'bytes',
        etag: `"${length}"`,
        ...part,
      })
      response.end(request.method === 'HEAD' ? undefined : this.#bytes.subarray(start, end + 1))
    })
  }

  /** Opens a free port. */
  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  /** Addresses of `count` tasks of these lengths in turn. Another name, other tasks. */
  urls(name: string, count: number, lengths: readonly number[]): string[] {
    const { port } = this.#server.address() as AddressInfo
    return Array.from(
      { length: count },
      (_, at) => `http://127.0.0.1:${port}/${lengths[at % lengths.length]}/${name}-${at}`,
    )
  }

  /** Breaks what is open and closes the port. */
  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }
}

import http2 from 'node:http2'
import type { Socket } from 'node:net'
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf'
import { envelope, portOf } from '../rpc/wire.ts'
import { cleanup, type Ending } from '../support/cleanup.ts'

/** One call of a gRPC client, answered by hand: nothing is sent that the test does not send. */
export class RawGrpcCall {
  /** `/package.Service/Method`. */
  readonly path: string
  readonly headers: http2.IncomingHttpHeaders
  readonly stream: http2.ServerHttp2Stream
  #ended = false

  constructor(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) {
    this.stream = stream
    this.headers = headers
    this.path = headers[':path'] ?? ''
    // What a client does to a call is seen in what it says, or no longer says.
    stream.on('error', () => undefined)
  }

  /** Name of the method alone. */
  get method(): string {
    return this.path.slice(this.path.lastIndexOf('/') + 1)
  }

  /** The client is gone, or the call is answered. */
  get gone(): boolean {
    return this.stream.destroyed || this.stream.closed
  }

  /** The messages of the client, until it ends its half or the call. */
  async *messages<D extends DescMessage>(schema: D): AsyncGenerator<MessageShape<D>> {
    let rest: Buffer = Buffer.alloc(0)
    try {
      for await (const chunk of this.stream.iterator({ destroyOnReturn: false })) {
        rest = Buffer.concat([rest, chunk as Buffer])
        while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
          const end = 5 + rest.readUInt32BE(1)
          yield fromBinary(schema, rest.subarray(5, end))
          rest = rest.subarray(end)
        }
      }
    } catch (error) {
      // A call that the client resets ends here as well.
      if (!this.gone) throw error
    }
  }

  /** The first message. */
  async message<D extends DescMessage>(schema: D): Promise<MessageShape<D>> {
    for await (const first of this.messages(schema)) return first
    return create(schema)
  }

  /** Sends the response headers, when they have not been sent. */
  respond(more: http2.OutgoingHttpHeaders = {}): void {
    if (this.gone || this.stream.headersSent) return
    const head = { ':status': 200, 'content-type': 'application/grpc', ...more }
    this.stream.respond(head, { waitForTrailers: true })
  }

  /** Sends a message, and headers before the first. */
  send<D extends DescMessage>(schema: D, message: MessageInitShape<D>): void {
    this.write(envelope(schema, message))
  }

  /** Sends bytes, and headers before the first. */
  write(bytes: Uint8Array): void {
    this.respond()
    if (!this.gone) this.stream.write(bytes)
  }

  /**
   * Ends the call as a Go server does: a status in the trailers, or in the only headers when nothing was sent before, and then a reset without error, because
   * the client may not have ended its half.
   */
  end(code = 0, text = ''): void {
    if (this.gone || this.#ended) return
    this.#ended = true
    const status = { 'grpc-status': String(code), 'grpc-message': encodeURIComponent(text) }
    const reset = (): void => {
      setImmediate(() => {
        if (!this.gone) this.stream.close(http2.constants.NGHTTP2_NO_ERROR)
      })
    }
    if (!this.stream.headersSent) {
      const head = { ':status': 200, 'content-type': 'application/grpc', ...status }
      this.stream.respond(head, { endStream: true })
      reset()
      return
    }
    this.stream.once('wantTrailers', () => {
      this.stream.sendTrailers(status)
      reset()
    })
    this.stream.end()
  }

  /** Answers a unary call. */
  reply<D extends DescMessage>(schema: D, message: MessageInitShape<D>): void {
    this.send(schema, message)
    this.end()
  }

  /** Resets the call. Never at once: Node must not do that while it still reads. */
  reset(code: number): void {
    setImmediate(() => this.stream.close(code))
  }

  /** Breaks the connection of this call. */
  cut(): void {
    setImmediate(() => this.stream.session?.destroy())
  }
}

/** A gRPC server without any gRPC library in it. */
export interface RawGrpc {
  readonly port: number
  /** `ip:port`. */
  readonly address: string
  /** Paths of all calls, in order. */
  readonly paths: readonly string[]
  /** Breaks every connection and takes no more. Safe to call twice. */
  die(): void
}

/** Starts one on a free port of this machine, or where one died; it is gone when the test ends. */
export async function rawGrpc(
  t: Ending,
  onCall: (call: RawGrpcCall) => void | Promise<void>,
  { ip = '127.0.0.1', port = 0 }: { readonly ip?: string; readonly port?: number } = {},
): Promise<RawGrpc> {
  const paths: string[] = []
  const sockets = new Set<Socket>()
  const server = http2.createServer()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
  })
  server.on('sessionError', () => undefined)
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    const call = new RawGrpcCall(stream, headers)
    paths.push(call.path)
    // A failure of the script must be seen: it becomes an uncaught error.
    void onCall(call)
  })
  await new Promise<void>((resolve) => server.listen(port, ip, resolve))
  const die = (): void => {
    if (server.listening) server.close()
    for (const socket of sockets) socket.destroy()
  }
  cleanup(t, die)
  const bound = portOf(server)
  return { port: bound, address: `${ip}:${bound}`, paths, die }
}

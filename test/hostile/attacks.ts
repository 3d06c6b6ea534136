import http2 from 'node:http2'
import { connect, type Socket } from 'node:net'
import { encodeRequest } from '../../src/transport/vortex.ts'

/** A port or a unix socket. */
export type Place =
  | { readonly port: number; readonly host: string; readonly localAddress?: string }
  | { readonly path: string }

/** Sockets of an attacker. They are never read from unless the attack says so, and end with `end()`. */
export class Attack {
  readonly #sockets = new Set<Socket>()
  readonly #timers = new Set<NodeJS.Timeout>()

  /** Connections that are open now, as far as this side knows. */
  get open(): number {
    return [...this.#sockets].filter(({ destroyed }) => !destroyed).length
  }

  /** Opens one connection, and gives it to `begin` once it is there. Whatever becomes of it is the attacked one's choice. */
  async connect(place: Place, begin: (socket: Socket) => void = () => undefined): Promise<void> {
    const socket = connect({ ...place, allowHalfOpen: true })
    this.#sockets.add(socket)
    await new Promise<void>((resolve) => {
      socket.once('connect', () => {
        begin(socket)
        resolve()
      })
      socket.on('error', () => resolve())
      socket.once('close', () => {
        this.#sockets.delete(socket)
        resolve()
      })
    })
  }

  /** Sends the bytes one after another, slowly, and then again from the start. */
  drip(socket: Socket, bytes: Uint8Array, everyMs: number): void {
    let at = 0
    const timer = setInterval(() => {
      if (socket.destroyed) {
        clearInterval(timer)
        this.#timers.delete(timer)
        return
      }
      socket.write(bytes.subarray(at % bytes.length, (at % bytes.length) + 1))
      at++
    }, everyMs)
    this.#timers.add(timer)
  }

  /** Breaks everything off. */
  end(): void {
    for (const timer of this.#timers) clearInterval(timer)
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }
}

/** A request for a piece with another length of its value. */
export function longRequest(valueBytes: number): Buffer {
  const bytes = encodeRequest({ kind: 'standard', taskId: 'a'.repeat(64), number: 0 })
  bytes.writeUInt32BE(valueBytes, 2)
  return bytes
}

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

/** One HTTP/2 frame. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** How a connection begins. */
export const hello: Buffer = Buffer.concat([preface, frame(4, 0, 0, Buffer.alloc(0))])

/** Headers that never end: a HEADERS frame without END_HEADERS, then CONTINUATION frames, each with a field that nobody knows. */
export function endlessHeaders(frames: number): Buffer {
  // Literal fields without indexing (RFC 7541 6.2.2): name "a", value of 1000 bytes.
  const field = Buffer.concat([
    Buffer.from([0x00, 0x01, 0x61, 0x7f, 0xe9, 0x06]),
    Buffer.alloc(1000, 'x'),
  ])
  const parts = [hello, frame(1, 0, 1, field)]
  for (let count = 0; count < frames; count++) parts.push(frame(9, 0, 1, field))
  return Buffer.concat(parts)
}

/** The headers of a gRPC call as HTTP/2 wants them, by way of a real client into a socket that only records. */
export async function callHeaders(path: string): Promise<Buffer> {
  const { Duplex } = await import('node:stream')
  const written: Buffer[] = []
  const recorder = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _, done) => {
      written.push(chunk)
      done()
    },
  })
  const session = http2.connect('http://localhost', { createConnection: () => recorder })
  session.on('error', () => undefined)
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  stream.on('error', () => undefined)
  await new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)))
  const bytes = Buffer.concat(written)
  session.destroy()
  return bytes
}

/** The beginning of a gRPC message that says it has 2³²−1 bytes. */
export const endlessMessage: Buffer = Buffer.from([0, 255, 255, 255, 255, 1, 2, 3])

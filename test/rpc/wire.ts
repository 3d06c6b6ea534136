import type http2 from 'node:http2'
import net from 'node:net'

import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf'

/** One HTTP/2 frame as it crossed the wire. */
export interface Frame {
  readonly type: string
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

const frameTypes = [
  'DATA',
  'HEADERS',
  'PRIORITY',
  'RST_STREAM',
  'SETTINGS',
  'PUSH_PROMISE',
  'PING',
  'GOAWAY',
  'WINDOW_UPDATE',
  'CONTINUATION',
]

/** A proxy that notes each frame of the server, and that can stop to forward. */
export interface Tap {
  readonly port: number
  readonly frames: readonly Frame[]
  /** Stops forwarding what the server sends. */
  pause(): void
  resume(): void
  close(): Promise<void>
}

/** Stands between a client and the server at this port. */
export async function tap(serverPort: number): Promise<Tap> {
  const frames: Frame[] = []
  const sockets = new Set<net.Socket>()
  const upstreams = new Set<net.Socket>()
  const proxy = net.createServer((client) => {
    const upstream = net.connect(serverPort, '127.0.0.1')
    const read = frameReader((frame) => frames.push(frame))
    upstream.on('data', read)
    upstream.pipe(client)
    client.pipe(upstream)
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => other.destroy())
    }
    upstreams.add(upstream)
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  return {
    port: portOf(proxy),
    frames,
    pause: () => {
      for (const upstream of upstreams) upstream.pause()
    },
    resume: () => {
      for (const upstream of upstreams) upstream.resume()
    },
    close: () => {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => proxy.close(() => resolve()))
    },
  }
}

function frameReader(onFrame: (frame: Frame) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk) => {
    rest = Buffer.concat([rest, chunk])
    while (rest.length >= 9) {
      const length = rest.readUIntBE(0, 3)
      if (rest.length < 9 + length) return
      const type = frameTypes[rest[3] ?? 0] ?? 'UNKNOWN'
      const stream = rest.readUInt32BE(5) & 0x7fffffff
      onFrame({ type, flags: rest[4] ?? 0, stream, payload: rest.subarray(9, 9 + length) })
      rest = rest.subarray(9 + length)
    }
  }
}

/** Kinds of the frames of one stream; HEADERS and DATA in a row count once. */
export function kinds(frames: readonly Frame[], stream: number): string[] {
  const names: string[] = []
  for (const frame of frames) {
    if (frame.stream !== stream || frame.type === 'WINDOW_UPDATE') continue
    const end = (frame.flags & 1) !== 0 && frame.type !== 'RST_STREAM' ? '+END' : ''
    const code = frame.type === 'RST_STREAM' ? ` ${frame.payload.readUInt32BE(0)}` : ''
    const name = `${frame.type}${end}${code}`
    if (names.at(-1) !== name) names.push(name)
  }
  return names
}

/** A message in its gRPC envelope. */
export function envelope<D extends DescMessage>(schema: D, message: MessageInitShape<D>): Buffer {
  const bytes = toBinary(schema, create(schema, message))
  const head = Buffer.alloc(5)
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

/** What a plain HTTP/2 client saw of a call. */
export interface RawCall {
  readonly stream: http2.ClientHttp2Stream
  /** Resolves with the response headers. */
  readonly headers: Promise<http2.IncomingHttpHeaders>
  /** Names of what happened, in order, once the stream is closed. */
  readonly story: Promise<readonly string[]>
}

/** Makes a gRPC call without any gRPC library. Its request half stays open unless `end` is set. */
export function rawCall(
  session: http2.ClientHttp2Session,
  path: string,
  options: {
    body?: Buffer
    end?: boolean
    headers?: http2.OutgoingHttpHeaders
    paused?: boolean
  } = {},
): RawCall {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...options.headers,
  })
  const story: string[] = []
  const headers = new Promise<http2.IncomingHttpHeaders>((resolve, reject) => {
    stream.once('response', resolve)
    stream.once('close', () => reject(new Error('Closed without response headers')))
  })
  headers.catch(() => undefined)
  const status = (received: http2.IncomingHttpHeaders): string => {
    const grpc = received['grpc-status']
    return grpc === undefined ? '' : ` grpc-status=${String(grpc)}`
  }
  stream.on('response', (received) => {
    story.push(`headers ${String(received[':status'])}${status(received)}`)
  })
  stream.on('trailers', (received) => story.push(`trailers${status(received)}`))
  stream.on('error', (error) => story.push(`error ${error.message}`))
  const closed = new Promise<readonly string[]>((resolve) => {
    stream.on('close', () => {
      story.push(`closed ${stream.rstCode}`)
      resolve(story)
    })
  })
  if (options.paused !== true) stream.resume()
  if (options.body !== undefined) stream.write(options.body)
  if (options.end === true) stream.end()
  return { stream, headers, story: closed }
}

/** The TCP port of a server that listens. */
export function portOf(server: net.Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('Not a TCP server')
  return address.port
}

/** Resolves when a condition holds; fails after 15 seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 15_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Did not happen: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

import { randomInt } from 'node:crypto'
import { createServer, type Socket } from 'node:net'
import { Code } from '@connectrpc/connect'
import { crc32 } from '../../src/hash/crc32.ts'
import {
  type SyncPiecesRequest,
  SyncPiecesRequestSchema,
  SyncPiecesResponseSchema,
} from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { type Geometry, geometry, pieceAt } from '../../src/task/piece.ts'
import { encodeContentHead, encodeError } from '../../src/transport/vortex.ts'
import { portOf } from '../rpc/wire.ts'
import { cleanup, type Ending } from '../support/cleanup.ts'
import type { Content } from '../support/content.ts'
import { type Candidate, taskOf } from './go-scheduler.ts'
import { type RawGrpc, type RawGrpcCall, rawGrpc } from './raw-grpc.ts'

/**
 * A parent that behaves as the Rust daemon does (dataplane 4.4 and 5.2): headers of SyncPieces at once, one message per piece in the order of asking, the end of the
 * stream when all was told; over TCP one request per connection, which it closes after the piece. Everything can be replaced by something else.
 */
export class RustParent {
  readonly id: string
  /** Of its own: a port that is free again on 127.0.0.1 is soon that of another test's parent, which has the same content. */
  readonly ip: string = `127.${randomInt(1, 255)}.${randomInt(0, 256)}.${randomInt(1, 255)}`
  readonly content: Content
  readonly cut: Geometry
  /** Pieces that it has. */
  readonly haves: Set<number>
  /** Requests for lists of pieces, and numbers of pieces, in the order of asking. */
  readonly synced: SyncPiecesRequest[] = []
  readonly asked: number[] = []
  /** Connections for pieces. */
  readonly sockets: Socket[] = []
  /** Answers SyncPieces. */
  onSync: (call: RawGrpcCall, request: SyncPiecesRequest) => void | Promise<void> = (
    call,
    request,
  ) => this.tellAll(call, request)
  /** Answers one request for a piece. */
  onPiece: (socket: Socket, number: number) => void = (socket, number) =>
    this.sendPiece(socket, number)
  /** Port that it names for pieces; 0 names none. */
  tcpPort = 0
  #grpc: RawGrpc | undefined
  #close: () => void = () => undefined

  private constructor(id: string, content: Content) {
    this.id = id
    this.content = content
    this.cut = geometry(content.length)
    this.haves = new Set(Array.from({ length: this.cut.pieceCount }, (_, number) => number))
  }

  /** Starts one that has everything. */
  static async start(t: Ending, content: Content, id = 'parent'): Promise<RustParent> {
    const parent = new RustParent(id, content)
    const answer = async (call: RawGrpcCall): Promise<void> => {
      if (!call.method.startsWith('Sync')) return call.end(Code.Unimplemented, 'not served')
      const request = await call.message(SyncPiecesRequestSchema)
      parent.synced.push(request)
      await parent.onSync(call, request)
    }
    parent.#grpc = await rawGrpc(t, answer, { ip: parent.ip })
    await parent.#listen(t)
    return parent
  }

  /** Port of the gRPC service. */
  get port(): number {
    return this.#running.port
  }

  /** Paths of all calls. */
  get paths(): readonly string[] {
    return this.#running.paths
  }

  /** How a scheduler names it. */
  candidate(): Candidate {
    return {
      id: `${this.id}-peer`,
      state: 'Running',
      host: { id: this.id, hostname: this.id, ip: this.ip, port: this.port },
      task: taskOf(this.content.length),
    }
  }

  /** Tells what it has of the pieces that were asked for, and ends when that is all of them. */
  tellAll(call: RawGrpcCall, { interestedPieceNumbers }: SyncPiecesRequest): void {
    call.respond()
    for (const number of interestedPieceNumbers) this.tell(call, number)
    call.end()
  }

  /** Tells of one piece, if it has it. */
  tell(call: RawGrpcCall, number: number): void {
    if (!this.haves.has(number)) return
    const { offset, length } = pieceAt(this.cut, number)
    call.send(SyncPiecesResponseSchema, {
      number,
      offset: BigInt(offset),
      length: BigInt(length),
      ip: this.ip,
      ...(this.tcpPort === 0 ? {} : { tcpPort: this.tcpPort }),
      quicPort: 4006,
    })
  }

  /** Sends a piece and ends the connection. */
  sendPiece(socket: Socket, number: number): void {
    if (!this.haves.has(number)) {
      socket.end(encodeError(2, 'piece not found'))
      return
    }
    socket.end(Buffer.concat([this.headOf(number), this.bytesOf(number)]))
  }

  /** Bytes of a piece. */
  bytesOf(number: number): Uint8Array {
    const { offset, length } = pieceAt(this.cut, number)
    return this.content.bytes(offset, length)
  }

  /** What stands before them. */
  headOf(number: number, more: Partial<Parameters<typeof encodeContentHead>[0]> = {}): Buffer {
    return encodeContentHead({
      ...pieceAt(this.cut, number),
      kind: 'standard',
      digest: `crc32:${crc32(this.bytesOf(number))}`,
      parentId: '',
      costSeconds: 1,
      createdAtSeconds: 1_755_600_000,
      ...more,
    })
  }

  /** As if the process were killed: every connection breaks, nobody listens. */
  kill(): void {
    this.#running.die()
    this.#close()
  }

  get #running(): RawGrpc {
    if (this.#grpc === undefined) throw new Error('It was never started')
    return this.#grpc
  }

  async #listen(t: Ending): Promise<void> {
    const server = createServer((socket) => {
      this.sockets.push(socket)
      socket.on('error', () => undefined)
      let seen = Buffer.alloc(0)
      let served = false
      socket.on('data', (bytes: Buffer) => {
        seen = Buffer.concat([seen, bytes])
        if (served || seen.length < 74) return
        // It never reads a second request.
        served = true
        const number = seen.readUInt32BE(70)
        this.asked.push(number)
        this.onPiece(socket, number)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, this.ip, resolve))
    this.tcpPort = portOf(server)
    this.#close = () => {
      if (server.listening) server.close()
      for (const socket of this.sockets) socket.resetAndDestroy()
    }
    cleanup(t, () => this.#close())
  }
}

import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import type { Piece } from '../../../src/task/piece.ts'
import type { ParentAddress, PieceRequest } from '../../../src/task/ports.ts'
import { type TcpOptions, tcp } from '../../../src/transport/tcp/tcp.ts'
import type { Transport } from '../../../src/transport/transport.ts'
import { encodeContentHead } from '../../../src/transport/vortex.ts'
import { type Clock, systemClock } from '../../../src/util/clock.ts'
import { addressOf, hostOf, never } from '../pair.ts'
import { contentOf, PieceShelf, taskId } from '../piece-shelf.ts'
import { PieceSlot } from '../piece-slot.ts'

/** A parent that is only a socket: it does what a test tells it, right or wrong. */
export interface RawParent {
  readonly child: Transport
  readonly address: ParentAddress
  /** Every connection that came, in order. */
  readonly sockets: readonly Socket[]
  /** Connections that are open. */
  readonly openCount: number
}

/** Starts one. `onRequest` is called for each 74 bytes that come. */
export async function rawParent(
  test: TestContext,
  onRequest: (socket: Socket, request: Buffer, nth: number) => void,
  options: TcpOptions & { readonly clock?: Clock } = {},
): Promise<RawParent> {
  const sockets: Socket[] = []
  let openCount = 0
  let nth = 0
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket)
    openCount++
    let seen = Buffer.alloc(0)
    socket.on('data', (bytes: Buffer) => {
      seen = Buffer.concat([seen, bytes])
      for (; seen.length >= 74; seen = seen.subarray(74)) {
        onRequest(socket, seen.subarray(0, 74), ++nth)
      }
    })
    socket.on('end', () => socket.end())
    // A child that resets the connection is what many of these tests are about.
    socket.on('error', () => undefined)
    socket.on('close', () => openCount--)
  })
  await new Promise<void>((resolve) => {
    server.listen({ host: '127.0.0.1', port: 0 }, resolve)
  })
  const { clock, ...rest } = options
  const shelf = new PieceShelf(Buffer.alloc(0), 1)
  const child = tcp(rest)(hostOf(shelf, { clock: clock ?? systemClock }))
  test.after(() => {
    child.destroy(new Error('The test is over'))
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const at = server.address()
  if (at === null || typeof at === 'string') throw new Error('Not listening')
  return {
    child,
    address: addressOf({ ip: '127.0.0.1', port: at.port }),
    sockets,
    get openCount() {
      return openCount
    },
  }
}

/** One piece and its right answer, to be sent as it is or spoilt. */
export const piece: Piece = Object.freeze({ number: 3, offset: 600_000, length: 200_000 })
export const asked: PieceRequest = Object.freeze({ taskId, kind: 'standard', piece })
export const content: Buffer = contentOf(piece.length, 3)
export const head: Buffer = encodeContentHead({
  ...piece,
  kind: 'standard',
  digest: 'crc32:1',
  parentId: '',
  costSeconds: 0,
  createdAtSeconds: 0,
})
/** Head and content. */
export const answer: Buffer = Buffer.concat([head, content])

/** Reads the piece and compares every byte. */
export async function readPiece(parent: RawParent, signal: AbortSignal = never): Promise<void> {
  const slot = new PieceSlot(piece)
  const received = await parent.child.read(parent.address, asked, slot, signal)
  assert.deepEqual(received, { digest: 'crc32:1' })
  assert.ok(content.equals(slot.bytes))
}

interface ClientState {
  readonly client: { readonly idleConnections: number; readonly parentsThatClose: string[] }
}

/** What the child says about its connections. */
export function stateOf(parent: RawParent): ClientState['client'] {
  return (parent.child.explain() as ClientState).client
}

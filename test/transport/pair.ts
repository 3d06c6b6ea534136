import assert from 'node:assert/strict'
import { setMaxListeners } from 'node:events'
import type { TestContext } from 'node:test'
import type { TaskKind } from '../../src/task/kind.ts'
import { pieceAt } from '../../src/task/piece.ts'
import type { ParentAddress, PieceRequest } from '../../src/task/ports.ts'
import type {
  RateGate,
  Transport,
  TransportFactory,
  TransportHost,
} from '../../src/transport/transport.ts'
import { type Clock, systemClock } from '../../src/util/clock.ts'
import { PieceShelf, taskId } from './piece-shelf.ts'
import { PieceSlot } from './piece-slot.ts'

const MiB = 1024 * 1024

/** What a transport is tested with, where the default does not do. */
export interface PairOptions {
  readonly uploadSlots?: number
  readonly uploadRate?: RateGate
  readonly clock?: Clock
}

/** A parent that serves a shelf, and a child. Both are gone when the test ends. */
export interface Pair {
  readonly parent: Transport
  readonly child: Transport
  readonly address: ParentAddress
  /** Asks for a piece of the shelf's task. */
  request(number: number, kind?: TaskKind): PieceRequest
  /** Reads a whole piece and compares every byte. */
  fetch(number: number, signal?: AbortSignal): Promise<PieceSlot>
}

/** A gate that is always open. */
export const noLimit: RateGate = { take: () => Promise.resolve() }

/** A signal that never fires. */
export const never: AbortSignal = new AbortController().signal
setMaxListeners(0, never)

/** What a peer gives to a transport, for one shelf. */
export function hostOf(shelf: PieceShelf, options: PairOptions = {}): TransportHost {
  return {
    shelf,
    listen: { ip: '127.0.0.1', port: 0 },
    uploadRate: options.uploadRate ?? noLimit,
    uploadSlots: options.uploadSlots ?? 16,
    clock: options.clock ?? systemClock,
  }
}

/** Where a parent is, for a transport. */
export function addressOf(at: { readonly ip: string; readonly port: number }): ParentAddress {
  return {
    parent: { id: 'parent-1', hostId: 'host-1', ip: at.ip, port: 4000, seed: false },
    endpoint: { ip: at.ip, tcpPort: at.port },
  }
}

/** Starts a pair of transports from factories that can reach each other. */
export async function pairOf(
  test: TestContext,
  makeFactory: () => TransportFactory,
  shelf: PieceShelf,
  options: PairOptions = {},
): Promise<Pair> {
  const parent = makeFactory()(hostOf(shelf, options))
  const child = makeFactory()(
    hostOf(new PieceShelf(Buffer.alloc(0), MiB), { clock: options.clock ?? systemClock }),
  )
  test.after(() => {
    child.destroy(new Error('The test is over'))
    parent.destroy(new Error('The test is over'))
  })
  const at = await parent.listen()
  assert.ok(at !== undefined)
  const address = addressOf(at)
  const request = (number: number, kind: TaskKind = 'standard'): PieceRequest => ({
    taskId,
    kind,
    piece: pieceAt(shelf.cut, number),
  })
  const fetch = async (number: number, signal = never): Promise<PieceSlot> => {
    const asked = request(number)
    const slot = new PieceSlot(asked.piece)
    const { digest } = await child.read(address, asked, slot, signal)
    assert.equal(digest, await slot.finish())
    assertContent(slot, shelf)
    return slot
  }
  return { parent, child, address, request, fetch }
}

/** Compares every byte of a slot with the shelf. */
export function assertContent(slot: PieceSlot, shelf: PieceShelf): void {
  const { offset, length } = slot.piece
  assert.equal(slot.filled, length)
  assert.ok(shelf.content.subarray(offset, offset + length).equals(slot.bytes), 'bytes differ')
}

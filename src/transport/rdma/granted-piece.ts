import { PeerError } from '../../errors.ts'
import type { OpenPiece } from '../../task/ports.ts'
import type { LeasedPiece } from './control.ts'
import type { NativeRdma, NativeRegistration } from './native.ts'
import { isOfAddon, nativeReason } from './native-failure.ts'
import type { Side } from './open-port.ts'

/** Bytes that are copied, or read, at a time: short enough not to hold up the event loop. */
const partBytes = 4 * 1024 * 1024

/** A piece in memory that others can read. */
export interface Exposed {
  readonly leased: LeasedPiece
  /** Ends that. `now`: because it must. Safe to call twice. */
  end(now: boolean): void
}

/** Whether the piece lies in memory that can be registered where it lies. */
export function liesRegistrable(native: NativeRdma, open: OpenPiece): boolean {
  const { memory } = open
  if (memory === undefined || memory.length !== open.piece.length) return false
  return memory.buffer instanceof ArrayBuffer && native.isAllocated(memory.buffer)
}

/** Exposes a piece where it lies, together with the content around it: nothing is copied, and mostly nothing is registered. Never more than the content of its task. */
export async function exposeInPlace(side: Side, open: OpenPiece): Promise<Exposed> {
  const { memory, content, piece } = open
  if (!(memory?.buffer instanceof ArrayBuffer)) throw new TypeError('The piece is not in memory')
  const around = content?.buffer === memory.buffer ? content : memory
  const hold = await roomFor(
    side.regions.hold(
      memory.buffer,
      { start: around.byteOffset, length: around.length },
      { start: memory.byteOffset, length: piece.length },
    ),
  )
  const { registration, offset } = hold
  return { leased: leasedOf(open, registration, offset), end: (now) => hold.end(now) }
}

/**
 * Exposes a copy of the piece.
 *
 * @param owner - the connection that is told the key: no other one ever is
 * @throws PeerError LIMIT_REACHED when there is no room, or when the piece cannot be read
 */
export async function exposeCopy(
  side: Side,
  open: OpenPiece,
  owner: object,
  signal: AbortSignal,
): Promise<Exposed> {
  const { length } = open.piece
  const slab = await roomFor(side.slabs.take(length, owner, signal))
  try {
    for (let at = 0; at < length; ) {
      signal.throwIfAborted()
      at += await readPart(open, slab.bytes.subarray(at, at + partBytes), at)
    }
  } catch (error) {
    slab.give()
    signal.throwIfAborted()
    throw noRoom('The piece broke off', error)
  }
  return { leased: leasedOf(open, slab.registration, 0), end: () => slab.give() }
}

/** A failure of the addon is one of this way only: the child is to take another one. */
async function roomFor<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw isOfAddon(error) ? noRoom(nativeReason(error), error) : error
  }
}

function noRoom(message: string, cause: unknown): PeerError<'LIMIT_REACHED'> {
  return new PeerError('LIMIT_REACHED', message, { limit: 'rdma', value: 0 }, { cause })
}

async function readPart(open: OpenPiece, into: Uint8Array, position: number): Promise<number> {
  const { memory, piece } = open
  if (memory === undefined) {
    const count = await open.read(into, position)
    if (count > 0) return count
    throw new RangeError(`Piece ${piece.number} ends at ${position}`)
  }
  if (memory.length !== piece.length) {
    throw new RangeError(`Piece ${piece.number} has ${piece.length} bytes, not ${memory.length}`)
  }
  into.set(memory.subarray(position, position + into.length))
  await new Promise<void>((resolve) => setImmediate(resolve))
  return into.length
}

function leasedOf(open: OpenPiece, registration: NativeRegistration, offset: number): LeasedPiece {
  const { number, offset: pieceOffset, length } = open.piece
  return {
    number,
    offset: pieceOffset,
    length,
    digest: open.digest,
    address: registration.address + BigInt(offset),
    key: registration.remoteKey,
  }
}

import { PeerError } from '../errors.ts'
import { crc32 } from '../hash/crc32.ts'
import type { Xxhash } from '../hash/xxhash.ts'
import { type Geometry, type Piece, pieceAt } from '../task/piece.ts'
import type { OpenFile } from './open-file.ts'
import type { SlabPool } from './slabs.ts'

/** Both sums of a piece as it lies in a file. */
export interface PieceSums {
  readonly crc: number
  readonly xxh64: bigint
}

/** Hands the bytes of a piece to `use`, a slab at a time. False when the file is too short. One slab is held, and nothing is waited for with it but the disk. */
export async function readPiece(
  file: OpenFile,
  piece: Piece,
  slabs: SlabPool,
  signal: AbortSignal,
  use: (bytes: Uint8Array, position: number) => Promise<void> | void,
): Promise<boolean> {
  const slab = await slabs.take(signal)
  try {
    for (let at = 0; at < piece.length; ) {
      signal.throwIfAborted()
      const part = slab.subarray(0, Math.min(slab.length, piece.length - at))
      const count = await file.read(part, piece.offset + at)
      if (count < part.length) return false
      await use(part, piece.offset + at)
      at += count
    }
    return true
  } finally {
    slabs.give(slab)
  }
}

/** The disk cannot read the place any more: as good as wrong bytes. */
export function isUnreadable(error: unknown): boolean {
  return PeerError.is(error, 'STORE_FAILED') && error.details.errno === 'EIO'
}

/** The xxh64 of a piece as it lies in a file; undefined when the file is too short. */
export async function hashPiece(
  file: OpenFile,
  piece: Piece,
  slabs: SlabPool,
  xxhash: Xxhash,
  signal: AbortSignal,
): Promise<bigint | undefined> {
  const hash = xxhash.create64()
  const whole = await readPiece(file, piece, slabs, signal, (bytes) => void hash.update(bytes))
  return whole ? hash.digest() : undefined
}

/** What the sums of a whole file are made with. */
export interface SumTools {
  readonly slabs: SlabPool
  readonly xxhash: Xxhash
  /** Sees all bytes, in order. */
  readonly see?: (bytes: Uint8Array) => void
}

/** Sums of all pieces of a file, in order; undefined when it is too short. */
export async function sumPieces(
  file: OpenFile,
  cut: Geometry,
  { slabs, xxhash, see }: SumTools,
  signal: AbortSignal,
): Promise<PieceSums[] | undefined> {
  const sums: PieceSums[] = []
  for (let number = 0; number < cut.pieceCount; number++) {
    const hash = xxhash.create64()
    let crc = 0
    const whole = await readPiece(file, pieceAt(cut, number), slabs, signal, (bytes) => {
      crc = crc32(bytes, crc)
      hash.update(bytes)
      see?.(bytes)
    })
    if (!whole) return undefined
    sums.push({ crc, xxh64: hash.digest() })
  }
  return sums
}

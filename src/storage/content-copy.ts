import { ftruncate } from 'node:fs'
import { type Geometry, pieceAt } from '../task/piece.ts'
import type { ContentFile, ContentHost } from './content-file.ts'
import type { Lease } from './descriptors.ts'
import { createFlags, OpenFile } from './open-file.ts'
import { readPiece } from './piece-check.ts'
import type { PieceTable } from './piece-table.ts'

/** What is copied. */
export interface ContentCopy {
  readonly cut: Geometry
  readonly table: PieceTable
  /** The file with the pieces; undefined when there is nothing to copy. Stays the caller's. */
  readonly lease: Lease | undefined
  /** Told which pieces of the new file are good. */
  readonly into: ContentFile
}

/** Makes a new file with all pieces that are still what was kept, compared on the way. Returns the numbers of those that are not. */
export async function copyGoodPieces(
  host: ContentHost,
  copy: ContentCopy,
  path: string,
  signal: AbortSignal,
): Promise<number[]> {
  const { cut, table, lease, into } = copy
  const file = await OpenFile.open(path, createFlags)
  try {
    await file.call('truncate', (fd, done) => ftruncate(fd, cut.contentLength, done))
    const damaged: number[] = []
    for (const number of lease === undefined ? [] : [...table.numbers()]) {
      const hash = host.xxhash.create64()
      const write = (bytes: Uint8Array, position: number): Promise<void> => {
        hash.update(bytes)
        return file.write(bytes, position)
      }
      const piece = pieceAt(cut, number)
      const whole =
        lease !== undefined && (await readPiece(lease.file, piece, host.readSlabs, signal, write))
      if (whole && hash.digest() === table.get(number)?.xxh64) into.believe(number)
      else damaged.push(number)
    }
    return damaged
  } finally {
    await file.close()
  }
}

import { crc32 } from '../../src/hash/crc32.ts'
import { pieceDigest } from '../../src/hash/digest.ts'
import { type Geometry, pieceAt } from '../../src/task/piece.ts'
import type { TaskSpec } from '../../src/task/ports.ts'

/** The byte of the simulated content at this offset. */
export function byteAt(offset: number): number {
  return (Math.imul(offset + 1, 2_654_435_761) >>> 13) & 255
}

/** A part of the simulated content. */
export function contentOf(offset: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => byteAt(offset + at))
}

/** Digest of a piece of the simulated content. */
export function digestOf(cut: Geometry, number: number): string {
  const { offset, length } = pieceAt(cut, number)
  return pieceDigest(crc32(contentOf(offset, length)))
}

/** A task, with what matters to the engine. */
export const spec: TaskSpec = Object.freeze({
  id: 'a'.repeat(64),
  kind: 'standard',
  url: 'https://user:secret@origin.example/models/m.bin?token=secret',
  filteredQueryParams: [],
  headers: { authorization: 'secret' },
  priority: 0,
})

import type { Geometry, Piece } from '../../../src/task/piece.ts'
import { byteAt } from '../content.ts'

/** One version of the content of a swarm. */
export interface Version {
  readonly number: number
  readonly contentLength: number
}

/** The bytes of a version from `offset` on: no two versions have the same. */
export function bytesOf(version: number, offset: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => versionByte(version, offset + at))
}

/** Whether these bytes are those of the version at that place. */
export function isContent(version: number, offset: number, bytes: Uint8Array): boolean {
  return bytes.every((byte, at) => byte === versionByte(version, offset + at))
}

/** The version that has this piece at its place, looked for from the newest on; undefined when none has. */
export function versionOf(newest: number, piece: Piece, bytes: Uint8Array): number | undefined {
  for (let version = newest; version >= 0; version--) {
    if (isContent(version, piece.offset, bytes)) return version
  }
  return undefined
}

/** How many bytes the pieces have that `has` does not know. */
export function missingBytes(cut: Geometry, has: (number: number) => boolean): number {
  let bytes = 0
  for (let number = 0; number < cut.pieceCount; number++) {
    const offset = number * cut.pieceLength
    if (!has(number)) bytes += Math.min(cut.pieceLength, cut.contentLength - offset)
  }
  return bytes
}

function versionByte(version: number, offset: number): number {
  return byteAt(offset + version * 1_000_003)
}

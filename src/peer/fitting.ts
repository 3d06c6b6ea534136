import { PeerError } from '../errors.ts'
import { type Geometry, numbersIn, pieceAt, type Range } from '../task/piece.ts'

/** Refuses a range that starts past the content. @throws PeerError RANGE_NOT_SATISFIABLE */
export function checkRange(range: Range | undefined, cut: Geometry): void {
  if (range === undefined || range.start < cut.contentLength) return
  throw new PeerError(
    'RANGE_NOT_SATISFIABLE',
    `Range starts at ${range.start}, content has ${cut.contentLength} bytes`,
    { ...range, contentLength: cut.contentLength },
  )
}

/** The part of the caller's memory that the content takes. @throws PeerError TOO_LARGE */
export function cutTo(into: Uint8Array, length: number): Uint8Array {
  if (into.byteLength >= length) return into.subarray(0, length)
  throw new PeerError(
    'TOO_LARGE',
    `The content has ${length} bytes, options.into has ${into.byteLength}`,
    { length, lengthMax: into.byteLength, instead: 'a larger options.into' },
  )
}

/** Bytes of the pieces that hold the range. */
export function bytesIn(cut: Geometry, range: Range): number {
  return numbersIn(cut, range).reduce((sum, number) => sum + pieceAt(cut, number).length, 0)
}

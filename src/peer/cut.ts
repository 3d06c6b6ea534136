import { PeerError } from '../errors.ts'
import { type Geometry, geometry, pieceCountMax, pieceLengthFor } from '../task/piece.ts'

/**
 * Cuts content whose length was told by somebody else, who may say anything.
 *
 * @throws PeerError TOO_LARGE when there would be more pieces than a task may have
 */
export function checkedCut(contentLength: number, pieceLength?: number): Geometry {
  const lengthMax = lengthMaxOf(contentLength, pieceLength)
  if (contentLength <= lengthMax) return geometry(contentLength, pieceLength)
  throw new PeerError('TOO_LARGE', `Content of ${contentLength} bytes has too many pieces`, {
    length: contentLength,
    lengthMax,
    instead: 'a larger options.pieceLength',
  })
}

/** Whether there can be content of this length. */
export function canBeCut(contentLength: number, pieceLength?: number): boolean {
  return contentLength <= lengthMaxOf(contentLength, pieceLength)
}

function lengthMaxOf(contentLength: number, pieceLength: number | undefined): number {
  return (pieceLength ?? pieceLengthFor(contentLength)) * pieceCountMax
}

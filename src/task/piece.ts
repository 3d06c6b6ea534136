/** Smallest piece length that a Dragonfly cluster accepts: 4 MiB. */
export const pieceLengthMin: number = 4 * 1024 * 1024
/** Largest piece length that a Dragonfly cluster accepts: 64 MiB. */
export const pieceLengthMax: number = 64 * 1024 * 1024
/** The rule aims at this many pieces for one task. */
export const pieceCountTarget: number = 500
/** Most pieces that one task may have here: bounds every table with an entry per piece. A task of 4 TiB has 65 536 pieces of 64 MiB. */
export const pieceCountMax: number = 1 << 20

/** One piece of a task: where it lies in the content. Both figures are bytes. */
export interface Piece {
  /** From 0 on. */
  readonly number: number
  /** Where it begins in the content. */
  readonly offset: number
  /** How long it is; above 0. */
  readonly length: number
}

/** How the content of a task is cut into pieces. Every piece but the last has `pieceLength` bytes. */
export interface Geometry {
  readonly contentLength: number
  readonly pieceLength: number
  readonly pieceCount: number
}

/** A part of the content: `length` bytes from `start` on. */
export interface Range {
  readonly start: number
  readonly length: number
}

/**
 * The piece length that every client of the cluster derives from the content length: the smallest power of two at or above a 500th of it, held within
 * 4 and 64 MiB (`reference`: Dragonfly client, piece length rule). It is not sent over the wire, so the rule must be the same everywhere.
 */
export function pieceLengthFor(contentLength: number): number {
  const quotient = Math.trunc(contentLength / pieceCountTarget)
  let length = pieceLengthMin
  while (length < quotient && length < pieceLengthMax) length *= 2
  return length
}

/**
 * Cuts content into pieces.
 *
 * @param contentLength - bytes, 0 or more
 * @param pieceLength - bytes; the rule decides when it is left out
 * @throws RangeError when a figure is not a safe whole number, or there would be more than `pieceCountMax` pieces
 */
export function geometry(
  contentLength: number,
  pieceLength: number = pieceLengthFor(contentLength),
): Geometry {
  if (!Number.isSafeInteger(contentLength) || contentLength < 0) {
    throw new RangeError(`contentLength must be a whole number of bytes, got ${contentLength}`)
  }
  if (!Number.isSafeInteger(pieceLength) || pieceLength < 1) {
    throw new RangeError(`pieceLength must be a whole number of bytes above 0, got ${pieceLength}`)
  }
  const pieceCount = Math.ceil(contentLength / pieceLength)
  if (pieceCount > pieceCountMax) {
    throw new RangeError(`A task has at most ${pieceCountMax} pieces, got ${pieceCount}`)
  }
  return Object.freeze({ contentLength, pieceLength, pieceCount })
}

/** The piece with this number. @throws RangeError when there is none */
export function pieceAt(cut: Geometry, number: number): Piece {
  if (!Number.isInteger(number) || number < 0 || number >= cut.pieceCount) {
    throw new RangeError(`There is no piece ${number} among ${cut.pieceCount}`)
  }
  const offset = number * cut.pieceLength
  return { number, offset, length: Math.min(cut.pieceLength, cut.contentLength - offset) }
}

/**
 * The numbers of all pieces that hold a byte of the range, ascending; of all pieces without one. An end past the content is cut.
 *
 * @throws RangeError when the range is empty or starts past the content
 */
export function numbersIn(cut: Geometry, range?: Range): number[] {
  if (cut.contentLength === 0) return []
  let first = 0
  let last = cut.pieceCount - 1
  if (range !== undefined) {
    if (range.length <= 0 || range.start < 0 || range.start >= cut.contentLength) {
      throw new RangeError(
        `Range ${range.start}+${range.length} is not in content of ${cut.contentLength} bytes`,
      )
    }
    const end = Math.min(range.start + range.length, cut.contentLength)
    first = Math.floor(range.start / cut.pieceLength)
    last = Math.floor((end - 1) / cut.pieceLength)
  }
  return Array.from({ length: last - first + 1 }, (_, at) => first + at)
}

/** The part of a piece that lies in the range, as a range of the content; undefined when they do not touch. */
export function overlap(piece: Piece, range: Range): Range | undefined {
  const start = Math.max(piece.offset, range.start)
  const end = Math.min(piece.offset + piece.length, range.start + range.length)
  return end > start ? { start, length: end - start } : undefined
}

import type { Geometry, Piece } from './piece.ts'
import type { TrafficKind } from './ports.ts'

/** How far something is. Bytes and pieces are those of whole pieces, also when only a part of a piece is wanted. */
export interface Progress {
  /** Bytes of all wanted pieces. */
  readonly bytesTotal: number
  /** Bytes kept: the sum of the next three. */
  readonly bytesKept: number
  /** Bytes that came from the origin. */
  readonly sourceBytes: number
  /** Bytes that came from other peers. */
  readonly peerBytes: number
  /** Bytes that were here before. */
  readonly localBytes: number
  readonly piecesTotal: number
  readonly piecesKept: number
}

/** Counts what is kept, for one share or for a whole run. Each piece is counted once. */
export class Tally {
  readonly #bytes: Record<TrafficKind, number> = { source: 0, peer: 0, local: 0 }
  #bytesTotal = 0
  #piecesTotal = 0
  #piecesKept = 0

  /** These pieces are wanted too: from the first number to the last, both included. */
  want(cut: Geometry, first: number, last: number): void {
    if (last < first) return
    this.#piecesTotal += last - first + 1
    this.#bytesTotal +=
      Math.min((last + 1) * cut.pieceLength, cut.contentLength) - first * cut.pieceLength
  }

  /** A wanted piece is kept. */
  kept(piece: Piece, traffic: TrafficKind): void {
    this.#piecesKept++
    this.#bytes[traffic] += piece.length
  }

  /** Wanted pieces that are not kept yet. */
  get missing(): number {
    return this.#piecesTotal - this.#piecesKept
  }

  /** The counts at this moment. */
  progress(): Progress {
    const { source, peer, local } = this.#bytes
    return {
      bytesTotal: this.#bytesTotal,
      bytesKept: source + peer + local,
      sourceBytes: source,
      peerBytes: peer,
      localBytes: local,
      piecesTotal: this.#piecesTotal,
      piecesKept: this.#piecesKept,
    }
  }
}

import { pieceDigest } from '../hash/digest.ts'
import { type Geometry, pieceAt } from '../task/piece.ts'
import { Bitmap } from '../util/bitmap.ts'

/** What is known about one kept piece. */
export interface KeptPiece {
  /** CRC-32 of its bytes: what other peers are told. */
  readonly crc: number
  /** xxh64 of its bytes: what it is checked against after a restart. 0 where nothing outlives the process. */
  readonly xxh64: bigint
  /** Parent it came from; empty for the origin. */
  readonly parentId: string
  /** Wall-clock milliseconds. */
  readonly createdAt: number
}

/**
 * Which pieces of a task are kept, and what is known about each. Typed arrays: 24 bytes for each possible piece, and none before the first piece
 * is kept. Parents are few and stand once each.
 */
export class PieceTable {
  readonly #geometry: Geometry
  #kept: Bitmap
  readonly #parents: string[] = []
  readonly #parentNumbers = new Map<string, number>()
  #columns: Columns | undefined
  #bytes = 0

  constructor(geometry: Geometry) {
    this.#geometry = geometry
    this.#kept = new Bitmap(geometry.pieceCount)
  }

  /** Pieces kept. */
  get count(): number {
    return this.#kept.held
  }

  /** Every piece is kept. */
  get full(): boolean {
    return this.#kept.full
  }

  /** Bytes of all kept pieces. */
  get bytes(): number {
    return this.#bytes
  }

  /** Whether this piece is kept. */
  has(number: number): boolean {
    return this.#kept.has(number)
  }

  /** Numbers of the kept pieces, ascending. */
  numbers(): Iterable<number> {
    return this.#kept
  }

  /** The lowest number that is not kept. */
  get firstMissing(): number | undefined {
    for (let number = 0; number < this.#kept.count; number++) {
      if (!this.#kept.has(number)) return number
    }
    return undefined
  }

  /** Keeps a piece; false when it is kept already. */
  add(number: number, piece: KeptPiece): boolean {
    if (!this.#kept.add(number)) return false
    this.#bytes += pieceAt(this.#geometry, number).length
    const columns = (this.#columns ??= makeColumns(this.#geometry.pieceCount))
    columns.crc[number] = piece.crc
    columns.xxh64[number] = piece.xxh64
    columns.createdAt[number] = piece.createdAt
    columns.parent[number] = this.#parentNumber(piece.parentId)
    return true
  }

  /** Forgets a piece; false when it was not kept. */
  delete(number: number): boolean {
    if (!this.#kept.delete(number)) return false
    this.#bytes -= pieceAt(this.#geometry, number).length
    return true
  }

  /** Forgets all pieces, however many, at once; the numbers of those that were kept. */
  clear(): Iterable<number> {
    const before = this.#kept
    this.#kept = new Bitmap(this.#geometry.pieceCount)
    this.#bytes = 0
    return before
  }

  /** What is known about a kept piece. */
  get(number: number): KeptPiece | undefined {
    const columns = this.#columns
    if (columns === undefined || !this.has(number)) return undefined
    return {
      crc: columns.crc[number] ?? 0,
      xxh64: columns.xxh64[number] ?? 0n,
      parentId: this.#parents[columns.parent[number] ?? 0] ?? '',
      createdAt: columns.createdAt[number] ?? 0,
    }
  }

  /** Its digest in string form. */
  digestOf(number: number): string | undefined {
    return this.has(number) ? pieceDigest(this.#columns?.crc[number] ?? 0) : undefined
  }

  #parentNumber(id: string): number {
    const known = this.#parentNumbers.get(id)
    if (known !== undefined) return known
    this.#parentNumbers.set(id, this.#parents.length)
    return this.#parents.push(id) - 1
  }
}

interface Columns {
  readonly crc: Uint32Array
  readonly xxh64: BigUint64Array
  readonly createdAt: Float64Array
  readonly parent: Uint32Array
}

function makeColumns(count: number): Columns {
  return {
    crc: new Uint32Array(count),
    xxh64: new BigUint64Array(count),
    createdAt: new Float64Array(count),
    parent: new Uint32Array(count),
  }
}

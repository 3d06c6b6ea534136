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
 * Which pieces of a task are kept, and what is known about each. Of few pieces each is an object; of many there are typed arrays, 24 bytes for each possible
 * piece. Neither before the first piece is kept.
 */
export class PieceTable {
  readonly #geometry: Geometry
  #kept: Bitmap
  #facts: Facts | undefined
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
    this.#facts ??= emptyFacts(this.#geometry.pieceCount)
    this.#facts.set(number, piece)
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
    return this.has(number) ? this.#facts?.get(number) : undefined
  }

  /** Its digest in string form. */
  digestOf(number: number): string | undefined {
    const piece = this.get(number)
    return piece === undefined ? undefined : pieceDigest(piece.crc)
  }
}

/** What is known about pieces, by number. */
interface Facts {
  get(number: number): KeptPiece | undefined
  set(number: number, piece: KeptPiece): void
}

/** With more pieces, four typed arrays of 200 bytes each take less than an object of 110 bytes for each piece. */
const rowsMax = 8

function emptyFacts(count: number): Facts {
  return count > rowsMax ? new Columns(count) : new Map<number, KeptPiece>()
}

/** Parents are few and stand once each. */
class Columns implements Facts {
  readonly #crc: Uint32Array
  readonly #xxh64: BigUint64Array
  readonly #createdAt: Float64Array
  readonly #parent: Uint32Array
  readonly #parents: string[] = []
  readonly #parentNumbers = new Map<string, number>()

  constructor(count: number) {
    this.#crc = new Uint32Array(count)
    this.#xxh64 = new BigUint64Array(count)
    this.#createdAt = new Float64Array(count)
    this.#parent = new Uint32Array(count)
  }

  get(number: number): KeptPiece {
    return {
      crc: this.#crc[number] ?? 0,
      xxh64: this.#xxh64[number] ?? 0n,
      parentId: this.#parents[this.#parent[number] ?? 0] ?? '',
      createdAt: this.#createdAt[number] ?? 0,
    }
  }

  set(number: number, piece: KeptPiece): void {
    this.#crc[number] = piece.crc
    this.#xxh64[number] = piece.xxh64
    this.#createdAt[number] = piece.createdAt
    this.#parent[number] = this.#parentNumber(piece.parentId)
  }

  #parentNumber(id: string): number {
    const known = this.#parentNumbers.get(id)
    if (known !== undefined) return known
    this.#parentNumbers.set(id, this.#parents.length)
    return this.#parents.push(id) - 1
  }
}

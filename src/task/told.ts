import { Bitmap } from '../util/bitmap.ts'

/** The checksum in a digest as it stands beside a piece; undefined when it is of another form. */
export function crcOf(digest: string | undefined): number | undefined {
  const match = digest === undefined ? null : /^crc32:([0-9]{1,10})$/.exec(digest)
  return match === null ? undefined : Number(match[1])
}

/** What one parent told of the content that it holds. 4 bytes for each possible piece, and none before it tells the first digest. */
export class Told {
  /** Token of its version, once it has told one. */
  version: string | undefined
  /** Something of it is kept here. */
  taken = false
  /** It holds another version: nothing of it is taken any more. */
  out = false
  /** Parents that told of other content, when it was not known yet whose is taken. */
  readonly rivals: Set<string> = new Set()
  readonly #pieceCount: number
  #crcs: { readonly known: Bitmap; readonly values: Uint32Array } | undefined

  constructor(pieceCount: number) {
    this.#pieceCount = pieceCount
  }

  /** Takes down what the parent says of a piece. False when it has told something else before. */
  tell(number: number, crc: number): boolean {
    const crcs = (this.#crcs ??= {
      known: new Bitmap(this.#pieceCount),
      values: new Uint32Array(this.#pieceCount),
    })
    if (!crcs.known.add(number)) return crcs.values[number] === crc
    crcs.values[number] = crc
    return true
  }

  /** Whether it told something else of this piece, and its word counts. */
  contradicts(number: number, crc: number): boolean {
    const crcs = this.#crcs
    return !this.out && crcs !== undefined && crcs.known.has(number) && crcs.values[number] !== crc
  }
}

import { createHash } from 'node:crypto'
import { describe, oneOf, wholeNumber } from '../util/settings.ts'
import { crc32 } from './crc32.ts'

/** The algorithms that a digest string may name. The real client knows these three and no others. */
export const digestAlgorithms = ['crc32', 'sha256', 'sha512'] as const

/** One of {@link digestAlgorithms}. */
export type DigestAlgorithm = (typeof digestAlgorithms)[number]

/** A digest string, taken apart. */
export interface Digest {
  /** How the value was made. */
  readonly algorithm: DigestAlgorithm
  /** crc32: decimal without padding; sha256 and sha512: lower-case hex. */
  readonly value: string
}

/** Largest CRC-32. */
const crcMax = 0xffff_ffff
const forms: Readonly<Record<DigestAlgorithm, RegExp>> = {
  crc32: /^[0-9]{1,10}$/,
  sha256: /^[0-9a-f]{64}$/,
  sha512: /^[0-9a-f]{128}$/,
}

/**
 * Takes `algorithm:value` apart. A crc32 may have any number of digits up to ten; the real client refuses fewer than ten, and with
 * them every checksum below 1 000 000 000. Leading zeros are dropped, so equal digests have equal results.
 *
 * @param text - For example `sha256:6ae8…`, `crc32:1475635037`.
 * @param name - What the caller knows this string as; errors name it.
 * @throws TypeError when the text has another form, an unknown algorithm, upper-case hex or a crc32 over 2^32 - 1.
 */
export function parseDigest(text: string, name = 'digest'): Digest {
  const digest = read(text)
  if (digest !== undefined) return digest
  throw new TypeError(
    `${name} must be crc32: with a decimal below 2^32, or sha256: or sha512: with lower-case hex of full length, got ${describe(text)}`,
  )
}

/** Whether {@link parseDigest} takes this value. */
export function isDigest(value: unknown): value is string {
  return read(value) !== undefined
}

function read(text: unknown): Digest | undefined {
  if (typeof text !== 'string') return undefined
  const [name = ''] = text.split(':', 1)
  const algorithm = digestAlgorithms.find((known) => known === name)
  const value = text.slice(name.length + 1)
  if (algorithm === undefined || !forms[algorithm].test(value)) return undefined
  if (algorithm !== 'crc32') return { algorithm, value }
  return Number(value) <= crcMax ? { algorithm, value: String(Number(value)) } : undefined
}

/** Puts a digest together again: `algorithm:value`. */
export function formatDigest(digest: Digest): string {
  return `${digest.algorithm}:${digest.value}`
}

/**
 * Whether two digest strings say the same. Digests by different algorithms never do.
 *
 * @throws TypeError when one of them is no digest.
 */
export function sameDigest(left: string, right: string): boolean {
  return formatDigest(parseDigest(left)) === formatDigest(parseDigest(right))
}

/** The digest of a piece as it stands in metadata and on the wire: `crc32:` and the checksum in decimal, without padding. */
export function pieceDigest(crc: number): string {
  return `crc32:${wholeNumber('crc', crc, 0, crcMax)}`
}

/**
 * Whether a piece with this checksum may be taken for the one that `digest` promises. The empty digest is legal on the wire (files
 * imported by hard link have no other) and promises nothing, so it fits every piece. Any other text has to be equal, letter by letter.
 */
export function pieceDigestMatches(digest: string, crc: number): boolean {
  return digest === '' || digest === pieceDigest(crc)
}

/**
 * Digest over the metadata of a piece, sent beside the piece by the gRPC DownloadPiece call of older clients: crc32 over number (32 bits),
 * offset and length (64 bits each), all big-endian, and the digest string.
 *
 * @throws RangeError when a number does not fit.
 */
export function pieceMetadataDigest(piece: {
  readonly number: number
  readonly offset: number
  readonly length: number
  readonly digest: string
}): string {
  const numbers = Buffer.alloc(20)
  numbers.writeUInt32BE(wholeNumber('number', piece.number, 0, 0xffff_ffff), 0)
  numbers.writeBigUInt64BE(wide('offset', piece.offset), 4)
  numbers.writeBigUInt64BE(wide('length', piece.length), 12)
  return pieceDigest(crc32(Buffer.from(piece.digest), crc32(numbers)))
}

function wide(name: string, value: number): bigint {
  return BigInt(wholeNumber(name, value, 0, Number.MAX_SAFE_INTEGER))
}

interface Sum {
  add(bytes: Uint8Array): void
  value(): string
}

/**
 * Digest of content that arrives in parts.
 *
 * @example
 * ```ts
 * const hasher = new Hasher('sha256')
 * hasher.update(new TextEncoder().encode('test content'))
 * hasher.digest() // 'sha256:6ae8a75555209fd6c44157c0aed8016e763ff435a19cf186f76863140143ff72'
 * ```
 */
export class Hasher {
  /** The algorithm of the result. */
  readonly algorithm: DigestAlgorithm
  readonly #sum: Sum
  #digest: string | undefined

  /** @throws TypeError when the algorithm is unknown. */
  constructor(algorithm: DigestAlgorithm) {
    this.algorithm = oneOf('algorithm', algorithm, digestAlgorithms)
    this.#sum = algorithm === 'crc32' ? crcSum() : shaSum(algorithm)
  }

  /**
   * Adds the next bytes; they are read before this returns and may be overwritten afterwards.
   *
   * @throws TypeError after `digest()` was called.
   */
  update(bytes: Uint8Array): this {
    if (this.#digest !== undefined) throw new TypeError('Hasher.update() after digest()')
    this.#sum.add(bytes)
    return this
  }

  /** Ends the input and gives its digest in string form; the same again on later calls. */
  digest(): string {
    this.#digest ??= formatDigest({ algorithm: this.algorithm, value: this.#sum.value() })
    return this.#digest
  }
}

function crcSum(): Sum {
  let crc = 0
  return {
    add: (bytes) => {
      crc = crc32(bytes, crc)
    },
    value: () => String(crc),
  }
}

function shaSum(algorithm: 'sha256' | 'sha512'): Sum {
  const hash = createHash(algorithm)
  return {
    add: (bytes) => {
      hash.update(bytes)
    },
    value: () => hash.digest('hex'),
  }
}

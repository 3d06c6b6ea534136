import { PeerError } from '../errors.ts'

/** Longest entity tag or date that is used to tell versions apart; an origin that sends a longer one has no validator. */
export const validatorLengthMax = 512

/** What an answer says about which version of the content it holds. */
export interface Version {
  /** The `ETag` field as it was sent. */
  readonly etag?: string
  /** The `Last-Modified` field as it was sent. */
  readonly lastModified?: string
  /** Bytes of the whole content. */
  readonly length?: number
}

/** Two versions that are not the same, in the words of ORIGIN_CHANGED. */
export interface Difference {
  readonly what: 'etag' | 'last-modified' | 'length'
  readonly expected: string
  readonly actual: string
}

/**
 * The validator of a version: `etag:"…"` for a strong entity tag, else `last-modified:<date>;length=<bytes>`, else `etag:` with a weak one, else undefined.
 *
 * RFC 9110 8.8.1: a weak tag may stay the same while bytes change, so equality proves nothing; another weak tag still means another version, and is noticed.
 * `Last-Modified` has a resolution of one second (8.8.2.2); the length goes with it so that a change within the second is seen more often.
 */
export function validatorOf(version: Version): string | undefined {
  const { etag, lastModified, length } = version
  if (etag !== undefined && isStrong(etag)) return `etag:${etag}`
  if (lastModified !== undefined) {
    return `last-modified:${lastModified}${length === undefined ? '' : `;length=${length}`}`
  }
  return etag === undefined ? undefined : `etag:${etag}`
}

/** The version that a validator stands for; undefined when it is none of ours. */
export function versionOf(validator: string): Version | undefined {
  if (validator.startsWith('etag:')) return { etag: validator.slice(5) }
  const dated = /^last-modified:(.*?)(?:;length=(\d{1,16}))?$/s.exec(validator)
  if (dated === null) return undefined
  const [, lastModified = '', length] = dated
  return length === undefined ? { lastModified } : { lastModified, length: Number(length) }
}

/**
 * How two versions differ, as far as both tell; undefined when nothing speaks against their being the same.
 * Entity tags are compared weakly (RFC 9110 8.8.3.2): a gateway that weakens a tag has not changed the content. Equal strong tags outweigh a date.
 */
export function difference(expected: Version, actual: Version): Difference | undefined {
  if (expected.length !== undefined && actual.length !== undefined) {
    if (expected.length !== actual.length) {
      return changed('length', `${expected.length}`, `${actual.length}`)
    }
  }
  if (expected.etag !== undefined && actual.etag !== undefined) {
    if (opaque(expected.etag) !== opaque(actual.etag)) {
      return changed('etag', expected.etag, actual.etag)
    }
    if (isStrong(expected.etag) && isStrong(actual.etag)) return undefined
  }
  if (expected.lastModified !== undefined && actual.lastModified !== undefined) {
    if (expected.lastModified !== actual.lastModified) {
      return changed('last-modified', expected.lastModified, actual.lastModified)
    }
  }
  return undefined
}

/** Whether both have the same strong entity tag: only then are their bytes the same for certain. */
export function provenSame(one: Version, other: Version): boolean {
  return one.etag !== undefined && isStrong(one.etag) && one.etag === other.etag
}

/** Whether a tag is a strong entity tag, well formed. Only such a one may stand in `If-Match` and `If-Range`. */
export function isStrong(etag: string): boolean {
  return /^"[\x21\x23-\x7e\x80-\xff]*"$/.test(etag)
}

/** Makes the error out of a difference. */
export function changedError(url: string, found: Difference): PeerError<'ORIGIN_CHANGED'> {
  const { what, expected, actual } = found
  return new PeerError(
    'ORIGIN_CHANGED',
    `The content changed at the origin: ${what} was ${expected}, is ${actual}`,
    { url, what, expected, actual },
  )
}

function opaque(etag: string): string {
  return etag.startsWith('W/') ? etag.slice(2) : etag
}

function changed(what: Difference['what'], expected: string, actual: string): Difference {
  return { what, expected, actual }
}

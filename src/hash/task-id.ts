import { createHash } from 'node:crypto'
import { wholeNumber } from '../util/settings.ts'
import { blobSha256, normalizeTaskUrl } from './task-url.ts'

/** What names a standard task. Range, digest, headers, priority and output are no part of it. */
export interface StandardTaskParts {
  /** Where the content comes from. */
  readonly url: string
  /** When given, the id is made of this text alone and all other parts are ignored. */
  readonly content?: string | undefined
  /** Whether the URL of a registry's blob is named by the digest in it. Off by default. */
  readonly blobDigest?: boolean | undefined
  /** Keeps tasks with one URL apart. The empty string is the same as none, here and below. */
  readonly tag?: string | undefined
  /** Keeps tasks with one URL apart. */
  readonly application?: string | undefined
  /** Revision of a model hub's repository. */
  readonly revision?: string | undefined
  /** Bytes per piece, only when the user asked for a length; the computed one never counts. */
  readonly pieceLength?: number | undefined
  /** Query parameters that do not count. None by default; see `defaultFilteredQueryParams`. */
  readonly filteredQueryParams?: readonly string[] | undefined
}

/**
 * The id of a standard task: by content text, else by blob digest, else by URL. All peers compute the same one.
 *
 * @returns 64 lower-case hex digits.
 * @throws PeerError `INVALID_URL` when the URL is none. RangeError when the piece length is no positive whole number.
 */
export function standardTaskId(parts: StandardTaskParts): string {
  if (parts.content !== undefined) return contentTaskId(parts.content)
  const blob = parts.blobDigest === true ? blobSha256(parts.url) : undefined
  if (blob !== undefined) return blob
  return sha256Hex(
    normalizeTaskUrl(parts.url, parts.filteredQueryParams),
    parts.tag,
    parts.application,
    parts.revision,
    decimal(parts.pieceLength),
    'STANDARD',
  )
}

/** The id of a standard or persistent cache task whose caller names it by a text of his own. */
export function contentTaskId(content: string): string {
  return sha256Hex(content)
}

/**
 * The id of a persistent task, one that lies in an object store. The URL counts letter by letter, without normalisation.
 *
 * @returns 64 lower-case hex digits.
 */
export function persistentTaskId(parts: {
  readonly url: string
  readonly region: string
  readonly endpoint: string
}): string {
  return sha256Hex(parts.url, parts.region, parts.endpoint, 'PERSISTENT')
}

/** What names a persistent cache task beside its bytes. */
export interface PersistentCacheTaskParts {
  /** Keeps tasks with the same bytes apart. */
  readonly tag?: string | undefined
  /** Keeps tasks with the same bytes apart. */
  readonly application?: string | undefined
  /** Bytes per piece, only when the user asked for a length. */
  readonly pieceLength?: number | undefined
}

/**
 * The id of a persistent cache task (a file written into the network), computed while its bytes pass by. Only the writer computes it; others
 * are told. For a task that is named by a text see {@link contentTaskId}.
 *
 * @example
 * ```ts
 * const naming = new PersistentCacheTaskId({ application: 'app1' })
 * naming.update(new TextEncoder().encode('This is a test file'))
 * naming.id() // '0d0f8536f51227fda07141308f5ae8149b561b51b61c6517125f25dfa27acf5b'
 * ```
 */
export class PersistentCacheTaskId {
  readonly #hash = createHash('sha256')
  readonly #ending: string
  #id: string | undefined

  /** @throws RangeError when the piece length is no positive whole number. */
  constructor(parts: PersistentCacheTaskParts = {}) {
    this.#ending = joined(
      parts.tag,
      parts.application,
      decimal(parts.pieceLength),
      'PERSISTENT_CACHE',
    )
  }

  /**
   * Adds the next bytes of the file; they are read before this returns.
   *
   * @throws TypeError after `id()` was called.
   */
  update(bytes: Uint8Array): this {
    if (this.#id !== undefined) throw new TypeError('PersistentCacheTaskId.update() after id()')
    this.#hash.update(bytes)
    return this
  }

  /** Ends the file and gives the id, 64 lower-case hex digits; the same again on later calls. */
  id(): string {
    this.#id ??= this.#hash.update(this.#ending).digest('hex')
    return this.#id
  }
}

/**
 * Whether a value can be a task id: exactly 64 lower-case hex digits. The piece protocol carries 64 bytes and every id rule gives hex, so
 * all else is refused. An id that passes can be part of a file name.
 */
export function isTaskId(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
}

/**
 * The name of a piece inside one host, the same for all kinds of task. The wire carries id and number apart.
 *
 * @throws RangeError when the number does not fit in 32 bits.
 */
export function pieceKey(taskId: string, number: number): string {
  return `${taskId}-${wholeNumber('number', number, 0, 0xffff_ffff)}`
}

function sha256Hex(...parts: readonly (string | undefined)[]): string {
  return createHash('sha256')
    .update(joined(...parts))
    .digest('hex')
}

/** Parts follow each other with nothing between, as the rule of the real client wants it; absent ones leave no trace. */
function joined(...parts: readonly (string | undefined)[]): string {
  return parts.join('')
}

function decimal(pieceLength: number | undefined): string | undefined {
  if (pieceLength === undefined) return undefined
  return String(wholeNumber('pieceLength', pieceLength, 1, Number.MAX_SAFE_INTEGER))
}

/**
 * What can go wrong, as data: a closed table of codes, and for each code the facts that a caller can act on.
 * Every code has a heading in `docs/errors.md`; a test compares the two lists.
 */
export interface ErrorDetails {
  /** The URL cannot be parsed, or a part of it is not allowed. */
  INVALID_URL: { readonly url: string; readonly reason: string }
  /** No source is registered for the scheme of the URL. */
  UNKNOWN_SCHEME: { readonly scheme: string; readonly known: readonly string[] }
  /** The origin says that it has no such content (404, 410, a missing file). */
  ORIGIN_NOT_FOUND: { readonly url: string; readonly status?: number }
  /** The origin refuses this requester (401, 403, 407, no permission on a file). */
  ORIGIN_FORBIDDEN: { readonly url: string; readonly status?: number }
  /** The origin answers with an error of its own (5xx, 429), also after retries. */
  ORIGIN_UNAVAILABLE: { readonly url: string; readonly status: number; readonly attempts: number }
  /** The origin cannot be reached, or the connection broke, also after retries. */
  ORIGIN_UNREACHABLE: { readonly url: string; readonly attempts: number; readonly reason: string }
  /** The origin redirects too often, in a circle, or to a scheme that is not allowed. */
  ORIGIN_REDIRECT: { readonly url: string; readonly redirects: number; readonly reason: string }
  /** The certificate of the origin does not verify, or the TLS handshake failed. */
  ORIGIN_TLS: { readonly url: string; readonly reason: string }
  /** The answer is not what was asked for: another range, too few bytes, an unexpected status. */
  ORIGIN_PROTOCOL: { readonly url: string; readonly expected: string; readonly actual: string }
  /** The content changed at the origin while it was being read (validator or length), or peers hold different versions of it. */
  ORIGIN_CHANGED: {
    readonly url: string
    readonly what: 'etag' | 'last-modified' | 'length' | 'file' | 'version'
    readonly expected: string
    readonly actual: string
  }
  /** The wanted range does not lie in the content. */
  RANGE_NOT_SATISFIABLE: {
    readonly start: number
    readonly length: number
    readonly contentLength: number
  }
  /** Bytes do not have the digest that was promised for them. */
  DIGEST_MISMATCH: {
    readonly task: string
    readonly expected: string
    readonly actual: string
    readonly piece?: number
    readonly parent?: string
  }
  /** A parent cannot be reached, or its connection broke. */
  PARENT_UNREACHABLE: { readonly parent: string; readonly reason: string }
  /** A parent answered something that the protocol forbids, or that was not asked for. */
  PARENT_PROTOCOL: {
    readonly parent: string
    readonly what: string
    readonly expected: string
    readonly actual: string
  }
  /** A parent answered that it cannot serve the piece. */
  PARENT_REFUSED: { readonly parent: string; readonly reason: string }
  /** A parent did not deliver in time. */
  PARENT_TIMEOUT: { readonly parent: string; readonly timeoutMs: number }
  /** Nobody who may be asked has the content. */
  NO_PARENTS: { readonly task: string; readonly tried: number; readonly waitedMs: number }
  /** No task with this id is known here or at the scheduler. */
  TASK_NOT_FOUND: { readonly task: string }
  /** No scheduler can be reached, and the work needs one. */
  SCHEDULER_UNAVAILABLE: { readonly addresses: readonly string[]; readonly reason: string }
  /** The scheduler refused the request. */
  SCHEDULER_REFUSED: {
    readonly method: string
    readonly reason: string
    readonly forbidden?: boolean
  }
  /** The content does not fit in one `Uint8Array`, or in the memory limit. */
  TOO_LARGE: { readonly length: number; readonly lengthMax: number; readonly instead: string }
  /** The disk, or the byte limit of the store, has no room for the content. */
  NO_SPACE: { readonly path: string; readonly needed: number; readonly available?: number }
  /** A file stands at the output path already. */
  OUTPUT_EXISTS: { readonly path: string }
  /** The operating system does not let this process touch the path. */
  PERMISSION_DENIED: { readonly path: string }
  /** A file that was named is not there. */
  FILE_NOT_FOUND: { readonly path: string }
  /** The file behind a seeded or written task changed; it is not served any more. */
  FILE_CHANGED: { readonly path: string; readonly task: string }
  /** The store cannot read or write. */
  STORE_FAILED: { readonly path: string; readonly operation: string; readonly errno: string }
  /** Another process works with this store folder. */
  STORE_LOCKED: { readonly path: string; readonly pid?: number }
  /** The store folder was written by a version that this one cannot read. */
  STORE_VERSION: { readonly path: string; readonly version: number; readonly supported: number }
  /** A kept piece is damaged; it was dropped. */
  STORE_CORRUPT: { readonly path: string; readonly task: string; readonly piece?: number }
  /** An address cannot be listened on. */
  LISTEN_FAILED: { readonly address: string; readonly reason: string }
  /** The caller may not do this over this connection. */
  NOT_PERMITTED: { readonly method: string; readonly reason: string }
  /** A limit of this peer is reached and the request was not queued. */
  LIMIT_REACHED: { readonly limit: string; readonly value: number }
  /** The peer, or this handle, was closed. */
  CLOSED: { readonly what: string }
  /** A custom source or a consumer's function threw. */
  FOREIGN: { readonly where: string; readonly reason: string }
}

/** Name of one kind of failure. */
export type ErrorCode = keyof ErrorDetails

const brand = Symbol.for('dragonfly-peer.PeerError')

/**
 * The one error class. `code` says what happened, `details` carries the facts of that code, `cause` the error it came from.
 * No field ever holds a credential: URLs are stripped of user info and query values before they come here.
 *
 * @example
 * ```ts
 * import { PeerError } from 'dragonfly-peer'
 * const error = new PeerError('TASK_NOT_FOUND', 'No such task', { task: 'abc' })
 * if (PeerError.is(error, 'TASK_NOT_FOUND')) error.details.task
 * ```
 */
export class PeerError<C extends ErrorCode = ErrorCode> extends Error {
  /** Which failure this is. */
  readonly code: C
  /** The facts of this failure. */
  readonly details: ErrorDetails[C]

  constructor(
    code: C,
    message: string,
    details: ErrorDetails[C],
    options?: { readonly cause?: unknown },
  ) {
    super(message, options)
    this.name = 'PeerError'
    this.code = code
    this.details = details
    Object.defineProperty(this, brand, { value: true })
  }

  /**
   * Whether a value is a `PeerError`, and of one of these codes when any are given. Also true for errors of a second copy of the package.
   */
  static is<C extends ErrorCode = ErrorCode>(
    value: unknown,
    ...codes: readonly C[]
  ): value is PeerError<C> {
    if (typeof value !== 'object' || value === null || !(brand in value)) return false
    return codes.length === 0 || codes.includes((value as unknown as PeerError<C>).code)
  }
}

import { PeerError } from '../errors.ts'
import { faultReasons } from './http-fault.ts'
import { type ResponseHeaders, fieldOf } from './http-headers.ts'
import { originsMax } from './origin-lanes.ts'
import { redactedTextLengthMax } from './redact.ts'
import { type Failure, parseRetryAfter } from './retries.ts'
import type { Clock } from '../util/clock.ts'

/** What a failure is about: for its error. */
export interface Attempt {
  /** The URL that was asked for in the first place, redacted. */
  readonly url: string
  /** Attempts made, this one included. */
  readonly attempts: number
}

/** Answers that another attempt may turn into content: too early, too much, or a fault on the way (RFC 9110 15.5.9, 15.6; RFC 6585 4). */
const transientStatuses: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504])

/**
 * Codes of certificates that do not verify and of handshakes that fail, as OpenSSL and Node name them. A connection that breaks within the handshake
 * has a code of the network and is no such case: it may go better next time.
 */
const tlsCodes: RegExp =
  /^(?:ERR_SSL_|ERR_TLS_|ERR_OSSL_|CERT_|CRL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERROR_IN_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_EXCEEDED|HOSTNAME_MISMATCH|EPROTO)/

/** Reasons in words, where there are any. */
const reasons: Readonly<Record<string, string>> = {
  ...faultReasons,
  HPE_INVALID_EOF_STATE: faultReasons.CONNECTION_CLOSED,
}

/** What an error of the HTTP client means. */
export function failureOf(thrown: unknown, attempt: Attempt): Failure {
  const cause = plainCause(thrown)
  const code = cause.code
  const { url } = attempt
  if (tlsCodes.test(code)) {
    return final(
      new PeerError(
        'ORIGIN_TLS',
        `No trusted connection: ${code}`,
        { url, reason: code },
        { cause },
      ),
    )
  }
  if (code === 'SOURCE_CLOSED') {
    return final(new PeerError('CLOSED', 'The source was closed', { what: 'source' }, { cause }))
  }
  if (code === 'ORIGINS_MAX') {
    const details = { limit: 'originsMax', value: originsMax }
    return final(new PeerError('LIMIT_REACHED', 'Too many origins at once', details, { cause }))
  }
  const reason = reasons[code]
  if (reason === undefined && code.startsWith('HPE_')) {
    return final(protocolError(url, 'an HTTP/1.1 answer', code, cause))
  }
  return { error: unreachable(attempt, reason ?? code, cause), transient: true }
}

/** What an answer means that is neither content nor a redirect. The body of such an answer is never looked at. */
export function failureOfStatus(
  status: number,
  headers: ResponseHeaders,
  attempt: Attempt,
  clock: Clock,
): Failure {
  const { url, attempts } = attempt
  if (status === 404 || status === 410) {
    return final(
      new PeerError('ORIGIN_NOT_FOUND', `The origin answered ${status}`, { url, status }),
    )
  }
  if (status === 401 || status === 403 || status === 407) {
    return final(
      new PeerError('ORIGIN_FORBIDDEN', `The origin answered ${status}`, { url, status }),
    )
  }
  if (status >= 500 || transientStatuses.has(status)) {
    const details = { url, status, attempts }
    const error = new PeerError('ORIGIN_UNAVAILABLE', `The origin answered ${status}`, details)
    const retryAfterMs = parseRetryAfter(fieldOf(headers, 'retry-after'), clock)
    const transient = transientStatuses.has(status)
    return retryAfterMs === undefined ? { error, transient } : { error, transient, retryAfterMs }
  }
  return final(protocolError(url, 'status 200 or 206', `status ${status}`))
}

/** The connection broke, or nothing more came. */
export function unreachable(
  attempt: Attempt,
  reason: string,
  cause?: unknown,
): PeerError<'ORIGIN_UNREACHABLE'> {
  return new PeerError(
    'ORIGIN_UNREACHABLE',
    `The origin did not deliver: ${reason}`,
    { url: attempt.url, attempts: attempt.attempts, reason },
    cause === undefined ? undefined : { cause },
  )
}

/** The answer is not what was asked for. */
export function protocolError(
  url: string,
  expected: string,
  actual: string,
  cause?: unknown,
): PeerError<'ORIGIN_PROTOCOL'> {
  return new PeerError(
    'ORIGIN_PROTOCOL',
    `The origin should have sent ${expected}, sent ${actual}`,
    { url, expected, actual },
    cause === undefined ? undefined : { cause },
  )
}

/** A failure that no other attempt can better. */
export function final(error: PeerError): Failure {
  return { error, transient: false }
}

/**
 * The error of the HTTP client without its extra fields: a parser error carries what the origin sent, a certificate error the certificate, and nobody can say
 * what the next release adds. Name, code and message stay.
 */
function plainCause(thrown: unknown): Error & { readonly code: string } {
  const error = thrown instanceof Error ? thrown : new Error('Not an error object')
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name
  const plain = new Error(error.message.slice(0, redactedTextLengthMax))
  plain.name = error.name
  return Object.assign(plain, { code })
}

import { PeerError } from '../errors.ts'
import { publish } from '../hooks.ts'
import type { Clock } from '../util/clock.ts'
import type { Connections } from './connections.ts'
import type { Response } from './http-ask.ts'
import { type Attempt, failureOf, failureOfStatus, final, protocolError } from './http-failure.ts'
import { codingOf, fieldOf, foreignFields, requestFields } from './http-headers.ts'
import { redactUrl } from './redact.ts'
import type { Failure } from './retries.ts'
import type { SourceRequest } from './source.ts'

/** Most redirects that are followed for one answer. */
export const redirectsMax = 10

const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])
/** Answers that `stat` and `read` look at themselves. */
const answerStatuses: ReadonlySet<number> = new Set([200, 206, 412, 416])

/** One request: what the user wants, and the part of it that is asked for now. */
export interface Ask {
  readonly request: SourceRequest
  /** The value of `Range`; undefined asks for everything. */
  readonly range: string | undefined
  /** A strong entity tag for `If-Match`. */
  readonly match: string | undefined
  /** What the events say about it. */
  readonly offset: number
  readonly length: number | undefined
}

/** How an exchange ended: with an answer of status 200, 206, 412 or 416, not encoded; or not. */
export type Outcome =
  | { readonly is: 'answer'; readonly response: Response }
  | { readonly is: 'failed'; readonly failure: Failure }

/** What an exchange needs. */
export interface Exchanger {
  readonly connections: Connections
  readonly clock: Clock
  readonly userAgent: string
  readonly allowDowngrade: boolean
  /** Gives the memory of a chunk back at once; undefined where nothing can, and it is there until it is collected. */
  readonly release: ((chunk: Uint8Array) => void) | undefined
}

/**
 * Asks the origin once, and follows its redirects. It always begins at the URL of the user: what a redirect led to last time may be signed and out of date.
 * Once a redirect has left the origin, the user's headers stay behind for good, also when a later one comes back.
 *
 * @throws `signal.reason` when cancelled; every other failure is an outcome
 */
export async function exchange(by: Exchanger, ask: Ask, attempt: Attempt): Promise<Outcome> {
  const { request } = ask
  const asked: Record<string, string> = {}
  if (ask.range !== undefined) asked['range'] = ask.range
  if (ask.match !== undefined) asked['if-match'] = ask.match
  let url = bare(request.url)
  let fields = requestFields(request.url, request.headers, by.userAgent)
  const visited = new Set([url.href])
  for (;;) {
    const outcome = await once(by, ask, attempt, url, { ...fields, ...asked })
    if (outcome.is === 'failed') return outcome
    const { statusCode, headers } = outcome.response
    if (!redirectStatuses.has(statusCode)) return judge(by, outcome.response, attempt)
    outcome.response.body.drop()
    const next = target(by, url, fieldOf(headers, 'location'), visited)
    if (typeof next === 'string') {
      const details = { url: attempt.url, redirects: visited.size - 1, reason: next }
      return failed(
        final(new PeerError('ORIGIN_REDIRECT', `Redirect not followed: ${next}`, details)),
      )
    }
    if (next.origin !== url.origin) fields = foreignFields(fields)
    visited.add(next.href)
    url = next
  }
}

async function once(
  by: Exchanger,
  ask: Ask,
  attempt: Attempt,
  url: URL,
  fields: Readonly<Record<string, string>>,
): Promise<Outcome> {
  const { signal } = ask.request
  let status: number | undefined
  try {
    const response = await by.connections.get(url, fields, signal)
    status = response.statusCode
    return { is: 'answer', response }
  } catch (error) {
    signal.throwIfAborted()
    return failed(failureOf(error, attempt))
  } finally {
    publish('dragonfly-peer:source:request', () => ({
      url: redactUrl(url),
      offset: ask.offset,
      attempt: attempt.attempts,
      ...(ask.length === undefined ? {} : { length: ask.length }),
      ...(status === undefined ? {} : { status }),
    }))
  }
}

function judge(by: Exchanger, response: Response, attempt: Attempt): Outcome {
  const { statusCode, headers } = response
  if (!answerStatuses.has(statusCode)) {
    response.body.drop()
    return failed(failureOfStatus(statusCode, headers, attempt, by.clock))
  }
  const coding = statusCode < 300 ? codingOf(headers) : undefined
  if (coding === undefined) return { is: 'answer', response }
  response.body.drop()
  const actual = `content-encoding ${coding}`
  return failed(final(protocolError(attempt.url, 'content without encoding', actual)))
}

/** Where a redirect leads, or why it is not followed. */
function target(
  by: Exchanger,
  from: URL,
  location: string | undefined,
  visited: ReadonlySet<string>,
): URL | string {
  if (location === undefined) return 'no single Location'
  const to = resolve(location, from)
  if (to === undefined) return 'Location is not a URL'
  if (to.protocol !== 'http:' && to.protocol !== 'https:') {
    return `to the scheme ${to.protocol.slice(0, 32)}`
  }
  if (from.protocol === 'https:' && to.protocol === 'http:' && !by.allowDowngrade) {
    return 'from https to http'
  }
  // Credentials that an origin puts into its redirect are not sent: nobody here vouches for them.
  const next = bare(to)
  if (visited.has(next.href)) return 'in a circle'
  return visited.size > redirectsMax ? `more than ${redirectsMax}` : next
}

/** The URL as it goes over the wire. */
function bare(url: URL): URL {
  const copy = new URL(url.href)
  copy.username = ''
  copy.password = ''
  copy.hash = ''
  return copy
}

function resolve(location: string, base: URL): URL | undefined {
  try {
    return new URL(location, base)
  } catch {
    // Not a URL: the caller says so, without repeating it.
    return undefined
  }
}

function failed(failure: Failure): Outcome {
  return { is: 'failed', failure }
}

import { Buffer } from 'node:buffer'
import { type Version, validatorLengthMax } from './version.ts'

/** Response header fields with names in lower case, repeated fields as arrays. */
export type ResponseHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

/** Longest response header value that is kept. */
const keptValueLengthMax = 2048

/**
 * Request fields of the user that are not sent. Range and conditions are the engine's (a user's `Range` has become the range of the download); the rest
 * belongs to the connection. `Host` would also become the name that TLS verifies, so the URL alone decides it.
 */
const droppedFields: ReadonlySet<string> = new Set([
  ...['range', 'if-range', 'if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since'],
  ...['accept-encoding', 'host', 'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer'],
  ...['transfer-encoding', 'content-length', 'expect', 'upgrade', 'http2-settings'],
])

/** Request fields of the user that another origin may see after a redirect. Every other one may be a credential, whatever its name. */
const harmlessFields: ReadonlySet<string> = new Set(['accept', 'accept-language', 'user-agent'])

/** Response fields that are kept with the task. */
const keptFields: readonly string[] = [
  ...['content-type', 'content-language', 'content-disposition', 'etag', 'last-modified'],
  ...['cache-control', 'expires', 'docker-content-digest'],
]

/** The fields that go to the origin of the URL: the user's, our name, and user info of the URL as basic authentication (RFC 7617). */
export function requestFields(
  url: URL,
  headers: Readonly<Record<string, string>>,
  userAgent: string,
): Record<string, string> {
  const fields: Record<string, string> = { 'user-agent': userAgent }
  if (url.username !== '' || url.password !== '') {
    const pair = `${decode(url.username)}:${decode(url.password)}`
    fields['authorization'] = `Basic ${Buffer.from(pair).toString('base64')}`
  }
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase()
    if (!droppedFields.has(lower)) fields[lower] = value
  }
  // Ranges of compressed content are of no use, and a digest is over the content itself.
  fields['accept-encoding'] = 'identity'
  return fields
}

/** What of these fields may go to another origin (scheme, host, port). */
export function foreignFields(fields: Readonly<Record<string, string>>): Record<string, string> {
  const kept = Object.entries(fields).filter(([name]) => harmlessFields.has(name))
  return { ...Object.fromEntries(kept), 'accept-encoding': 'identity' }
}

/** The one value of a field; undefined when it is missing or given more than once with different values. */
export function fieldOf(headers: ResponseHeaders, name: string): string | undefined {
  const value = headers[name]
  if (value === undefined || typeof value === 'string') return value
  return value.every((one) => one === value[0]) ? value[0] : undefined
}

/** The coding of the body, when there is one. */
export function codingOf(headers: ResponseHeaders): string | undefined {
  const value = headers['content-encoding']
  const coding = typeof value === 'string' ? value : (value ?? []).join(', ')
  return /^(identity)?$/i.test(coding.trim()) ? undefined : coding.slice(0, 64)
}

/** Bytes of the body as announced; undefined when the field is missing or does not count (RFC 9112 6.3: a transfer coding overrides it). */
export function contentLengthOf(headers: ResponseHeaders): number | undefined {
  if (headers['transfer-encoding'] !== undefined) return undefined
  return wholeBytes(fieldOf(headers, 'content-length'))
}

/** The part that a 206 carries: first and last byte, and the length of the whole where the origin knows it. */
export interface ContentRange {
  readonly first: number
  readonly last: number
  readonly total?: number
}

/** Reads `Content-Range: bytes first-last/total`; undefined when it is missing or makes no sense. */
export function contentRangeOf(headers: ResponseHeaders): ContentRange | undefined {
  const field = fieldOf(headers, 'content-range') ?? ''
  const parts = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/i.exec(field.trim())
  if (parts === null) return undefined
  const first = wholeBytes(parts[1])
  const last = wholeBytes(parts[2])
  const total = wholeBytes(parts[3])
  if (first === undefined || last === undefined || last < first) return undefined
  if (total === undefined) return parts[3] === '*' ? { first, last } : undefined
  return last < total ? { first, last, total } : undefined
}

/** The length of the whole that a 416 tells: `Content-Range: bytes * /total` (without the space). */
export function unsatisfiedTotalOf(headers: ResponseHeaders): number | undefined {
  const field = fieldOf(headers, 'content-range') ?? ''
  return wholeBytes(/^bytes \*\/(\d{1,16})$/i.exec(field.trim())?.[1])
}

/** Which version an answer is about. */
export function answerVersion(headers: ResponseHeaders, length: number | undefined): Version {
  const etag = usable(fieldOf(headers, 'etag'))
  const lastModified = usable(fieldOf(headers, 'last-modified'))
  return {
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified }),
    ...(length === undefined ? {} : { length }),
  }
}

/** The response fields worth keeping, as of an answer with the whole content. */
export function keptHeaders(
  headers: ResponseHeaders,
  length: number | undefined,
): Readonly<Record<string, string>> {
  const kept: Record<string, string> = {}
  for (const name of keptFields) {
    const value = fieldOf(headers, name)
    if (value !== undefined && value.length <= keptValueLengthMax) kept[name] = value
  }
  if (length !== undefined) kept['content-length'] = `${length}`
  return Object.freeze(kept)
}

function wholeBytes(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : undefined
}

function usable(value: string | undefined): string | undefined {
  const trimmed = value?.trim() ?? ''
  return trimmed === '' || trimmed.length > validatorLengthMax ? undefined : trimmed
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    // A stray % in user info: it is meant as it stands.
    return text
  }
}

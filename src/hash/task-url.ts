import { randomUUID } from 'node:crypto'
import { PeerError } from '../errors.ts'
import { isDigest } from './digest.ts'

/**
 * Names of query parameters that sign a URL or route it and say nothing about the content; two signed URLs of one object shall be one task.
 * The list of the real client's tools: object stores with the S3, GCS, OSS, OBS and COS interfaces, and `ns` of containerd.
 */
export const defaultFilteredQueryParams: readonly string[] = Object.freeze([
  'X-Amz-Algorithm',
  'X-Amz-Credential',
  'X-Amz-Date',
  'X-Amz-Expires',
  'X-Amz-SignedHeaders',
  'X-Amz-Signature',
  'X-Amz-Security-Token',
  'X-Amz-User-Agent',
  'X-Goog-Algorithm',
  'X-Goog-Credential',
  'X-Goog-Date',
  'X-Goog-Expires',
  'X-Goog-SignedHeaders',
  'X-Goog-Signature',
  'OSSAccessKeyId',
  'Expires',
  'Signature',
  'SecurityToken',
  'AccessKeyId',
  'X-Obs-Date',
  'X-Obs-Security-Token',
  'q-sign-algorithm',
  'q-ak',
  'q-sign-time',
  'q-key-time',
  'q-header-list',
  'q-url-param-list',
  'q-signature',
  'x-cos-security-token',
  'ns',
])

/**
 * These names, or the default list itself when they are the same: whoever keeps tasks keeps their lists, and those that were read from a message or a journal
 * take 1400 bytes each.
 */
export function sharedQueryParams(names: readonly string[]): readonly string[] {
  const shared = defaultFilteredQueryParams
  const same = names.length === shared.length && names.every((name, at) => name === shared[at])
  return same ? shared : names
}

/**
 * The form of a URL that goes into a task id. WHATWG parsing lowers the host, drops default ports and resolves dots; filtered query
 * parameters go (names are compared decoded, exactly); the rest keeps its order and is written anew as a form would; a bare `/` path goes.
 * Applying it twice changes nothing. Every letter counts: another spelling is another task, and its peers do not meet.
 *
 * @param url - An absolute URL of any scheme.
 * @param filteredQueryParams - Names to leave out. None by default, which is what a caller of the gRPC interface gets too.
 * @throws PeerError `INVALID_URL` when it is no absolute URL.
 */
export function normalizeTaskUrl(url: string, filteredQueryParams: readonly string[] = []): string {
  const parsed = parse(url)
  const filtered = new Set(filteredQueryParams)
  const kept = [...parsed.searchParams].filter(([name]) => !filtered.has(name))
  // Assigned even when nothing was filtered: this re-encodes the query, and '' takes a lone question mark away.
  parsed.search = new URLSearchParams(kept).toString()
  return parsed.pathname === '/' ? withoutClosingSlashes(parsed.href) : withCarets(parsed, url)
}

/**
 * The `href` with the carets of the path as they were given. Parsers differ there: the real client keeps a `^`, as Node 20 and 22 do; from Node 24 on it becomes
 * `%5E`, as later versions of the standard want it, and cannot be told any more from a `%5E` that was given.
 */
function withCarets({ href, pathname, protocol }: URL, url: string): string {
  if (!url.includes('^') || !pathname.includes('%5E')) return href
  // Needs no encoding, so the parser leaves it in the carets' places. Only the path of this second parse is used.
  const marker = randomUUID()
  const path = parse(url.replaceAll('^', marker)).pathname.replaceAll(marker, '^')
  const at = href.indexOf(
    pathname,
    protocol.length + (href.startsWith('//', protocol.length) ? 2 : 0),
  )
  return href.slice(0, at) + path + href.slice(at + pathname.length)
}

// Not URL.canParse(): on Node 20 and 22 it turns down hosts with letters like ü once the compiler has optimised its caller. And the error of
// the constructor is dropped on purpose: it holds the whole URL, with all secrets in it.
function parse(url: string): URL {
  try {
    return new URL(url)
  } catch {
    throw invalidUrl(url, 'It is not an absolute URL')
  }
}

// A loop, not /\/+$/: that needs quadratic time on a fragment of slashes that ends otherwise.
function withoutClosingSlashes(text: string): string {
  let end = text.length
  while (text.charAt(end - 1) === '/') end--
  return text.slice(0, end)
}

/**
 * The hex of the digest in the URL of a container registry's blob (`scheme://host/v2/name/blobs/algorithm:hex`, with or without a query).
 *
 * Only a sha256 makes a task id that the piece protocol can carry. For other digests the answer is `undefined`, as it is for other URLs; then
 * the task is named by its URL. (The real client uses their value as it is, and no peer can fetch such a task from another.)
 *
 * @throws PeerError `INVALID_URL` when it is a blob URL without a digest in the place of the digest.
 */
export function blobSha256(url: string): string | undefined {
  const [path = ''] = url.split('?', 1)
  const scheme = path.indexOf('://')
  const version = path.indexOf('/v2/', scheme + 3)
  const blobs = path.lastIndexOf('/blobs/')
  if (scheme < 0 || version < 0 || blobs < version + 4) return undefined
  const digest = path.slice(blobs + 7)
  if (!isDigest(digest)) throw invalidUrl(url, 'The blob in it is not named by a digest')
  return digest.startsWith('sha256:') ? digest.slice(7) : undefined
}

function invalidUrl(url: string, reason: string): PeerError<'INVALID_URL'> {
  // Only the scheme is repeated: what cannot be parsed cannot be stripped of passwords with certainty.
  const scheme = /^[a-z][a-z0-9+.-]{0,31}:/i.exec(url)?.[0] ?? ''
  return new PeerError('INVALID_URL', `The URL is not usable: ${reason}`, { url: scheme, reason })
}

import assert from 'node:assert/strict'
import { Code, ConnectError } from '@connectrpc/connect'
import { PeerError } from '../../src/errors.ts'
import { formatDigest, isDigest, parseDigest } from '../../src/hash/digest.ts'
import { blobSha256, normalizeTaskUrl } from '../../src/hash/task-url.ts'
import { downloadSettings } from '../../src/peer/download-settings.ts'
import { lastOf, rangeWish } from '../../src/peer/local/range-header.ts'
import { parseAddress } from '../../src/rpc/address.ts'
import { checkedEntry } from '../../src/source/listing.ts'
import {
  answerVersion,
  codingOf,
  contentLengthOf,
  contentRangeOf,
  keptHeaders,
  type ResponseHeaders,
  unsatisfiedTotalOf,
} from '../../src/source/http-headers.ts'
import {
  redactText,
  redactUrl,
  redactedTextLengthMax,
  redactedUrlLengthMax,
} from '../../src/source/redact.ts'
import { parseRetryAfter } from '../../src/source/retries.ts'
import { difference, validatorOf, versionOf } from '../../src/source/version.ts'
import { systemClock } from '../../src/util/clock.ts'
import type { Random } from '../crash/random.ts'
import type { Target } from './target.ts'

const urls = [
  'https://user:password-of-it@host.example:8443/a/b%20c/../d;e?X-Amz-Signature=abcdef&b=c+d&ns=x#f',
  'http://[::1]:80/?&&=&a=%zz',
  'https://registry.example/v2/library/x/blobs/sha256:' + 'ab'.repeat(32) + '?ns=docker.io',
  'hf://models/name@main/file^1.bin',
  'file:///var/lib/x',
  's3://bucket/key?versionId=1',
]

/** A target whose input is text. */
function texts(
  name: string,
  valid: readonly string[] | ((random: Random) => string),
  check: (text: string) => void,
): Target {
  return {
    name,
    valid: (random) => Buffer.from(typeof valid === 'function' ? valid(random) : random.of(valid)),
    check: (bytes) => check(Buffer.from(bytes).toString('utf8')),
  }
}

/** The value, or undefined where the function throws its declared error; every other error is a finding. */
function declared<T>(work: () => T, isDeclared: (error: unknown) => boolean): T | undefined {
  try {
    return work()
  } catch (error) {
    if (isDeclared(error)) return undefined
    throw error
  }
}

const invalidUrl = (error: unknown): boolean => {
  if (!PeerError.is(error, 'INVALID_URL')) return false
  // Of what cannot be parsed only the scheme may be told.
  assert.ok(error.details.url.length <= redactedUrlLengthMax && error.message.length < 300)
  return true
}

const programmerError = (error: unknown): boolean =>
  (error instanceof TypeError || error instanceof RangeError) && error.message.length < 2000

const taskUrl = texts('task URL', urls, (text) => {
  const normal = declared(() => normalizeTaskUrl(text, ['ns']), invalidUrl)
  if (normal !== undefined) assert.equal(normalizeTaskUrl(normal, ['ns']), normal)
  const blob = declared(() => blobSha256(text), invalidUrl)
  if (blob !== undefined) assert.match(blob, /^[0-9a-f]{64}$/)
})

const target = texts('download target', urls, (text) => {
  const settings = declared(
    () => downloadSettings(text, { headers: { a: text.slice(0, 100) }, tag: text.slice(0, 50) }),
    (error) => programmerError(error) || invalidUrl(error),
  )
  if (settings !== undefined) assert.match(settings.spec.id, /^[0-9a-f]{64}$/)
  declared(() => downloadSettings({ task: text }), programmerError)
})

const secret = 'hunter2xyzzy'
const redaction = texts('redaction', urls, (text) => {
  const shown = redactUrl(text)
  assert.ok(shown.length <= redactedUrlLengthMax)
  const parsed = parsedUrl(text)
  if (parsed === undefined) return assert.match(shown, /^([a-z][a-z0-9+.-]*:)?$/)
  parsed.username = secret
  parsed.password = secret
  parsed.searchParams.set('name', secret)
  parsed.hash = secret
  assert.ok(!redactUrl(parsed.href).includes(secret))
  const headers = { authorization: `Bearer ${secret}` }
  const message = redactText(`${text} ${parsed.href} ${secret}`, { url: parsed, headers })
  assert.ok(!message.includes(secret) && message.length <= redactedTextLengthMax)
})

function parsedUrl(text: string): URL | undefined {
  return declared(
    () => new URL(text),
    () => true,
  )
}

const precondition = (error: unknown): boolean =>
  error instanceof ConnectError && error.code === Code.FailedPrecondition

const range = texts(
  'Range header',
  ['bytes=0-1', 'bytes=5-', 'bytes=-7', ' bytes= 0-0\t'],
  (text) => {
    const wish = declared(() => rangeWish(text), precondition)
    if (wish === undefined) return
    const found = wish.is === 'part' ? wish.range : lastOf(wish.length, 1000)
    assert.ok(Number.isSafeInteger(found.start) && found.start >= 0)
    assert.ok(Number.isSafeInteger(found.length) && found.length >= 1)
    assert.ok(Number.isSafeInteger(found.start + found.length))
    if (wish.is === 'last') return
    const { start, length } = wish.range
    assert.deepEqual(rangeWish(`bytes=${start}-${start + length - 1}`), wish)
  },
)

const digest = texts(
  'digest',
  ['crc32:4294967295', 'crc32:0', `sha256:${'0f'.repeat(32)}`, `sha512:${'0f'.repeat(64)}`],
  (text) => {
    const found = declared(() => parseDigest(text), programmerError)
    assert.equal(found !== undefined, isDigest(text))
    if (found !== undefined) assert.deepEqual(parseDigest(formatDigest(found)), found)
  },
)

const address = texts(
  'address',
  ['127.0.0.1:65535', '[fd00::1]:1', 'unix:/run/a.sock', 'unix:///run/a'],
  (text) => {
    const found = declared(() => parseAddress(text), programmerError)
    if (found !== undefined && 'port' in found) assert.ok(found.port >= 1 && found.port <= 65_535)
  },
)

const fields = [
  'content-length: 1048576\ncontent-range: bytes 0-99/1048576\netag: "abc"',
  'content-range: bytes */77\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT',
  'transfer-encoding: chunked\ncontent-encoding: gzip, identity\nretry-after: 120',
  'retry-after: Fri, 31 Dec 2038 23:59:59 GMT\netag: W/"x"\nETAG: "y"',
]

/** Response fields as the source has them: lower case, repeated ones as a list. */
function fieldsIn(text: string): ResponseHeaders {
  const headers = new Map<string, string | string[]>()
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    if (colon < 1) continue
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    const known = headers.get(name)
    headers.set(name, known === undefined ? value : [...[known].flat(), value])
  }
  return Object.fromEntries(headers)
}

const headers = texts('response headers', fields, (text) => {
  const given = fieldsIn(text)
  const length = contentLengthOf(given)
  for (const figure of [length, unsatisfiedTotalOf(given)]) {
    assert.ok(figure === undefined || (Number.isSafeInteger(figure) && figure >= 0))
  }
  const part = contentRangeOf(given)
  if (part !== undefined) {
    assert.ok(part.first >= 0 && part.first <= part.last)
    assert.ok(part.last < (part.total ?? Number.POSITIVE_INFINITY))
    assert.ok(Number.isSafeInteger(part.last - part.first + 1))
  }
  assert.ok((codingOf(given) ?? '').length <= 64)
  const version = answerVersion(given, length)
  const validator = validatorOf(version)
  if (validator !== undefined) {
    assert.ok(validator.length < 700)
    const again = versionOf(validator)
    assert.ok(again !== undefined && difference(again, version) === undefined, validator)
  }
  const kept = Object.values(keptHeaders(given, length))
  assert.ok(kept.length <= 10 && kept.every((value) => value.length <= 2048))
  const retry = given['retry-after']
  const waitMs = parseRetryAfter(typeof retry === 'string' ? retry : undefined, systemClock)
  assert.ok(waitMs === undefined || waitMs >= 0)
})

const directory = new URL('http://host/a/b/')
const entry = texts(
  'directory entry',
  ['http://host/a/b/c', 'http://host/a/b/c/d%20e', 'http://host/a/b/%2e%2e/x'],
  (text) => {
    const isDirectory = text.endsWith('/')
    const found = declared(
      () => checkedEntry({ url: text, length: 0, isDirectory }, directory),
      (error) => PeerError.is(error, 'ORIGIN_PROTOCOL'),
    )
    if (found === undefined) return
    const rest = new URL(found.url).pathname.slice('/a/b/'.length)
    const names = decodeURIComponent(rest).split('/')
    assert.ok(!names.includes('..') && !names.includes('.') && !rest.includes('\0'), found.url)
  },
)

export const textTargets: readonly Target[] = [
  ...[taskUrl, target, redaction, range, digest, address, headers, entry],
]

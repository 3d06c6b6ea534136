import { PeerError } from '../errors.ts'
import { frozenCopy } from '../util/frozen-copy.ts'
import { describe } from '../util/settings.ts'
import { BoundOrigin } from './bound-origin.ts'
import { parseUrl, schemeOf } from './redact.ts'
import type { Source } from './source.ts'

/** Longest URL that is taken. */
export const urlLengthMax: number = 16 * 1024
/** Most request headers of one task. */
export const requestHeadersMax = 128
/** Longest value of one of them. */
export const requestHeaderLengthMax: number = 16 * 1024

/** The sources of a peer, by URL scheme. */
export class Sources {
  readonly #byScheme: ReadonlyMap<string, Source>
  readonly #all: ReadonlySet<Source>

  /**
   * @param builtIn - what there is without the user
   * @param own - the user's: they come before the built-in ones
   * @throws TypeError when one is not a source, or two of the user's have the same scheme; the key is named
   */
  constructor(builtIn: readonly Source[], own: readonly Source[] = []) {
    if (!Array.isArray(own)) throw new TypeError(`sources must be an array, got ${describe(own)}`)
    const owned = register(own, 'sources')
    this.#byScheme = new Map([...register(builtIn, 'builtIn'), ...owned])
    this.#all = new Set([...builtIn, ...own])
  }

  /** The schemes that can be bound, sorted. */
  get schemes(): readonly string[] {
    return [...this.#byScheme.keys()].toSorted()
  }

  /**
   * The origin of one task.
   *
   * @throws PeerError INVALID_URL, UNKNOWN_SCHEME; TypeError for headers that no request can carry
   */
  bind(spec: {
    readonly url: string
    readonly headers: Readonly<Record<string, string>>
  }): BoundOrigin {
    const url = parseUrl(spec.url)
    if (url === undefined) throw invalidUrl(spec.url, 'It is not an absolute URL')
    if (spec.url.length > urlLengthMax)
      throw invalidUrl(spec.url, `Over ${urlLengthMax} characters`)
    const scheme = url.protocol.slice(0, -1)
    const source = this.#byScheme.get(scheme)
    if (source === undefined) {
      const known = this.schemes
      const message = `No source for ${scheme}, there are ${known.join(', ') || 'none'}`
      throw new PeerError('UNKNOWN_SCHEME', message, { scheme, known })
    }
    return new BoundOrigin(source, scheme, url, checkedHeaders(spec.headers))
  }

  /**
   * Closes every source, also those whose schemes the user took over. All are closed even if one fails.
   *
   * @throws PeerError FOREIGN for the first that fails
   */
  async close(): Promise<void> {
    const closing = [...this.#all].map(async (source) => source.close?.())
    for (const result of await Promise.allSettled(closing)) {
      if (result.status === 'fulfilled') continue
      if (PeerError.is(result.reason)) throw result.reason
      const details = { where: 'source close', reason: 'It threw' }
      const cause: unknown = result.reason
      throw new PeerError('FOREIGN', 'A source threw while closing', details, { cause })
    }
  }
}

function register(sources: readonly Source[], name: string): Map<string, Source> {
  const found = new Map<string, Source>()
  for (const [at, source] of sources.entries()) {
    for (const scheme of checkedSchemes(source, `${name}[${at}]`)) {
      const other = found.get(scheme)
      if (other !== undefined && other !== source) {
        throw new TypeError(`${name}[${at}].scheme is taken already: ${scheme}`)
      }
      found.set(scheme, source)
    }
  }
  return found
}

function checkedSchemes(source: Source, name: string): readonly string[] {
  if (typeof source !== 'object' || source === null) {
    throw new TypeError(`${name} must be a source, got ${describe(source)}`)
  }
  for (const key of ['stat', 'read', 'list', 'close'] as const) {
    const value: unknown = source[key]
    const optional = key === 'list' || key === 'close'
    if (typeof value === 'function' || (optional && value === undefined)) continue
    throw new TypeError(`${name}.${key} must be a function, got ${describe(value)}`)
  }
  const schemes: readonly unknown[] = Array.isArray(source.scheme) ? source.scheme : [source.scheme]
  if (schemes.length === 0) throw new TypeError(`${name}.scheme must name a scheme`)
  return schemes.map((scheme) => {
    // RFC 3986 3.1, in the lower case that the URL parser gives.
    if (typeof scheme === 'string' && /^[a-z][a-z0-9+.-]{0,31}$/.test(scheme)) return scheme
    const wanted = 'a URL scheme in lower case, without colon'
    throw new TypeError(`${name}.scheme must be ${wanted}, got ${describe(scheme)}`)
  })
}

function checkedHeaders(
  headers: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const entries = Object.entries(headers)
  if (entries.length > requestHeadersMax) {
    throw new RangeError(`headers must be ${requestHeadersMax} at most, got ${entries.length}`)
  }
  for (const [name, value] of entries) {
    // RFC 9110 5.5 and 5.6.2. Values are secrets: the message names the header only.
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/.test(name)) {
      throw new TypeError('headers has a name that is not a token')
    }
    if (typeof value !== 'string' || /[^\t\x20-\x7e\x80-\xff]/.test(value)) {
      throw new TypeError(`headers.${name} must be text without control characters`)
    }
    if (value.length > requestHeaderLengthMax) {
      throw new RangeError(`headers.${name} has over ${requestHeaderLengthMax} characters`)
    }
  }
  return frozenCopy(headers)
}

function invalidUrl(url: string, reason: string): PeerError {
  const details = { url: schemeOf(url), reason }
  return new PeerError('INVALID_URL', `The URL is not usable: ${reason}`, details)
}

import type { OriginStat, Slot } from '../task/ports.ts'

/**
 * Where content comes from first: a plug-in for one or more URL schemes, made of plain async functions.
 *
 * @example
 * ```ts
 * const source: Source = {
 *   scheme: 'demo',
 *   async stat() { return { length: 5, ranges: true, headers: {} } },
 *   async *read({ offset, length }) { yield new TextEncoder().encode('hello').subarray(offset, length === undefined ? undefined : offset + length) },
 * }
 * ```
 */
export interface Source {
  /** Scheme, or schemes, without the colon, in lower case. */
  readonly scheme: string | readonly string[]
  /**
   * What there is at the URL. May throw anything: what is not a `PeerError` is wrapped as FOREIGN, and so is an answer that breaks the contract
   * (`stat-check.ts` has the limits).
   */
  stat(request: SourceRequest): Promise<OriginStat>
  /**
   * Content from `offset` on, `length` bytes or to its end, in order. A source whose `stat` says `ranges: false` is only ever asked from offset 0 to the end.
   * A chunk is copied before the next one is asked for: `http()` takes its memory back then, and it is empty. More or fewer bytes than asked for end the read with
   * ORIGIN_PROTOCOL; a chunk that goes too far is not delivered. When the consumer leaves early, `return()` of the iterator is called; when it cancels, also the
   * signal fires, and nobody waits for the source.
   */
  read(request: SourceRead): AsyncIterable<Uint8Array>
  /**
   * What lies below a directory, at any depth and in any order, for tools that fetch directories. The URL of the request ends with a slash. Every entry must
   * lie below it (`listing.ts` has the rules and limits); the folders that files lie in need not be told. Left out by a source that cannot list.
   */
  list?(request: SourceRequest): AsyncIterable<SourceEntry>
  /** Frees connections. Called once when the peer closes. */
  close?(): Promise<void>
}

/** One entry of a directory. */
export interface SourceEntry {
  /** Absolute URL; that of a directory ends with a slash. */
  readonly url: string
  /** Bytes of content; 0 for a directory. */
  readonly length: number
  /** Whether it is a directory. */
  readonly isDirectory: boolean
}

/** What a source is asked. */
export interface SourceRequest {
  /** The URL of the download, parsed. May hold credentials. */
  readonly url: URL
  /** Request headers of the user: may hold credentials. */
  readonly headers: Readonly<Record<string, string>>
  /** Fires when the answer is not wanted any more; the source ends its work then. */
  readonly signal: AbortSignal
}

const passes: unique symbol = Symbol('passes')

/** Marks the `read` of a source of this package, which knows what `into` of a request is. */
export function markPassing(source: Source): void {
  const read = readOf(source)
  Object.defineProperty(read, passes, { value: read })
}

/**
 * Whether its `read` is such a one, that very function: whoever puts another in front of it may change what it yields, and must see all of it, however much of the source
 * was copied or inherited.
 */
export function isPassing(source: Source): boolean {
  const read = readOf(source)
  return passes in read && read[passes] === read
}

function readOf(source: Source): object {
  return Reflect.get(source, 'read')
}

/** What such a source is asked. */
export interface SourceInto extends SourceRead {
  /** Where the part goes, all of it and nothing else. What the source fills there itself is not yielded. */
  readonly into?: Slot
}

/** What part a source is asked for. */
export interface SourceRead extends SourceRequest {
  /** First byte that is wanted. */
  readonly offset: number
  /** How many bytes; to the end of the content without it. */
  readonly length?: number
  /** The version that is being read, from `stat`; a source that can tell must throw ORIGIN_CHANGED when it has another. */
  readonly validator?: string
}

import type { IncomingHttpHeaders } from 'node:http'
import type { ByteRange } from './origin-range.ts'

/** How an origin behaves. */
export interface OriginOptions {
  /** Bytes of content. @defaultValue 1 MiB */
  readonly length?: number
  /** Decides the bytes. @defaultValue `1` */
  readonly seed?: number
  /** Whether `Range` is honoured and announced. @defaultValue `true` */
  readonly ranges?: boolean
  /** Whether the length is said. `false` sends full answers in HTTP chunks, and HEAD without a length. @defaultValue `true` */
  readonly lengthKnown?: boolean
  /** Whether there is an `ETag`. @defaultValue `true` */
  readonly etag?: boolean
  /** Whether there is a `Last-Modified`. @defaultValue `true` */
  readonly lastModified?: boolean
  /** Whether HEAD is answered; otherwise it gets 405. @defaultValue `true` */
  readonly head?: boolean
  /** Sent with every answer. */
  readonly headers?: Readonly<Record<string, string>>
  /** Pace of each answer. @defaultValue as fast as the reader takes it */
  readonly bytesPerSecond?: number
  /** Asked for each request; may wait. Undefined: the honest answer. */
  readonly answer?: (
    request: OriginRequest,
  ) => OriginAnswer | undefined | Promise<OriginAnswer | undefined>
  /** Serves https. */
  readonly tls?: { readonly key: string; readonly cert: string }
}

/** One request, as it went. */
export interface OriginRequest {
  /** 0 for the first. */
  readonly number: number
  /** HTTP method. */
  readonly method: string
  /** Path with query. */
  readonly url: string
  /** All headers. */
  readonly headers: IncomingHttpHeaders
  /** The range that was asked for and exists. */
  readonly range: ByteRange | undefined
  /** `stat` asks about the content (HEAD, or a GET of its first byte), `ranged` for a part, `full` for everything. */
  readonly kind: 'stat' | 'ranged' | 'full'
  /** Status that was sent; 0 while there is none. */
  status: number
  /** Bytes of content given to the socket so far. */
  bytes: number
  /** Whether the answer is over, and whether whole. */
  state: 'open' | 'whole' | 'broken'
}

/** What an origin does with one request. Counts of bytes are bytes of content, after the headers. */
export type OriginAnswer =
  /** What HTTP asks for. */
  | { readonly is: 'honest' }
  /** Only a status, without content. */
  | {
      readonly is: 'status'
      readonly status: number
      readonly headers?: Readonly<Record<string, string>>
    }
  /** The honest answer with other headers. */
  | { readonly is: 'headers'; readonly headers: Readonly<Record<string, string>> }
  /** The connection is reset, before the headers or after so many bytes. */
  | { readonly is: 'reset'; readonly afterBytes?: number }
  /** The connection ends in good order, but too early. */
  | { readonly is: 'end'; readonly afterBytes: number }
  /** Nothing more comes, and the connection stays; without a number not even headers. */
  | { readonly is: 'stall'; readonly afterBytes?: number }
  /** Everything comes, slowly. */
  | { readonly is: 'slow'; readonly bytesPerSecond: number }
  /** One byte, at this offset of the content, is another one. */
  | { readonly is: 'corrupt'; readonly at: number }

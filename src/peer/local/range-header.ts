import { Code, ConnectError } from '@connectrpc/connect'
import type { Range } from '../../task/piece.ts'

/** What a `Range` header asks for. `last` bytes need the length of the content. */
export type RangeWish =
  | { readonly is: 'part'; readonly range: Range }
  | { readonly is: 'last'; readonly length: number }

/**
 * Reads a `Range` header (RFC 9110 14.1.2) with one range. A range without an end goes to the end of the content.
 *
 * @throws ConnectError FailedPrecondition, as daemons answer (controlplane 6.4)
 */
export function rangeWish(header: string): RangeWish {
  const match = /^bytes=[ \t]*([0-9]{0,16})-([0-9]{0,16})[ \t]*$/.exec(header.trim())
  if (match === null) throw unusable('The Range header must name one range of bytes')
  const [, first = '', last = ''] = match
  if (first === '' && last === '') throw unusable('The Range header names no byte')
  const end = last === '' ? Number.MAX_SAFE_INTEGER : Number(last) + 1
  if (first === '') {
    const length = whole(end - 1)
    if (length === 0) throw unusable('The Range header asks for the last 0 bytes')
    return { is: 'last', length }
  }
  const start = whole(Number(first))
  if (whole(end) <= start) throw unusable('The Range header ends before it begins')
  return { is: 'part', range: { start, length: end - start } }
}

/** The last bytes of content, all of it when it is shorter. */
export function lastOf(length: number, contentLength: number): Range {
  if (contentLength === 0) throw unusable('The content is empty')
  const start = Math.max(0, contentLength - length)
  return { start, length: contentLength - start }
}

/** The request may be right, but not for this content. */
export function unusable(message: string): ConnectError {
  return new ConnectError(message, Code.FailedPrecondition)
}

function whole(value: number): number {
  if (Number.isSafeInteger(value)) return value
  throw unusable('The Range header has a number that is too large')
}

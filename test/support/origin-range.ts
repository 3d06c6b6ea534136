/** A part of content: first byte and how many. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}

/**
 * Reads a `Range` header against the length of the content (RFC 9110, 14.1.2). Undefined: there is none, or one that a server ignores:
 * another unit, several parts, or nonsense.
 */
export function parseRange(
  header: string | undefined,
  contentLength: number,
): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  const [, first = '', last = ''] = match ?? []
  if (first === '' && last === '') return undefined
  if (first === '') {
    const length = Math.min(Number(last), contentLength)
    return length === 0 ? 'unsatisfiable' : { offset: contentLength - length, length }
  }
  const offset = Number(first)
  if (last !== '' && Number(last) < offset) return undefined
  if (offset >= contentLength) return 'unsatisfiable'
  const end = last === '' ? contentLength : Math.min(Number(last) + 1, contentLength)
  return { offset, length: end - offset }
}

import { PeerError } from '../errors.ts'
import type { Piece } from './piece.ts'
import type { Origin, Slot } from './ports.ts'

/** What reading from the origin needs. */
export interface OriginAccess {
  readonly origin: Origin
  /** URL of the origin as errors may show it. */
  readonly shownUrl: string
  /** The version to read. */
  readonly validator: string | undefined
}

/**
 * One piece by one request.
 *
 * @throws PeerError the ORIGIN_ codes; ORIGIN_PROTOCOL when more or fewer bytes come than the piece has
 */
export async function readPiece(
  access: OriginAccess,
  piece: Piece,
  slot: Slot,
  signal: AbortSignal,
): Promise<void> {
  const { offset, length } = piece
  const part = { offset, length, into: slot, ...validatorOf(access) }
  for await (const chunk of access.origin.read(part, signal)) {
    if (slot.filled + chunk.length > length) {
      throw wrongLength(access, length, `${slot.filled + chunk.length} or more`)
    }
    await pour(chunk, slot)
  }
  if (slot.filled !== length) throw wrongLength(access, length, String(slot.filled))
}

/** Copies a chunk into the slot, waiting while earlier bytes are on their way to where they are kept. The chunk must fit. */
export async function pour(chunk: Uint8Array, slot: Slot): Promise<void> {
  let rest = chunk
  while (rest.length > 0) {
    const space = slot.space()
    if (space === undefined) {
      await slot.drained()
      continue
    }
    const part = rest.subarray(0, space.length)
    if (part.length === 0) throw new RangeError('The chunk is longer than what the slot misses')
    space.set(part)
    slot.fill(part.length)
    rest = rest.subarray(part.length)
  }
}

/** `validator` as a property that is there only when there is one. */
export function validatorOf(access: OriginAccess): { readonly validator?: string } {
  return access.validator === undefined ? {} : { validator: access.validator }
}

/** The origin sent another number of bytes than it should. */
export function wrongLength(
  access: OriginAccess,
  expected: number,
  actual: string,
): PeerError<'ORIGIN_PROTOCOL'> {
  return new PeerError(
    'ORIGIN_PROTOCOL',
    `The origin should send ${expected} bytes and sent ${actual}`,
    { url: access.shownUrl, expected: `${expected} bytes`, actual: `${actual} bytes` },
  )
}

/** The origin sent nothing for too long. */
export function originSilent(access: OriginAccess, ms: number): PeerError<'ORIGIN_UNREACHABLE'> {
  return new PeerError('ORIGIN_UNREACHABLE', `The origin sent nothing for ${ms} ms`, {
    url: access.shownUrl,
    attempts: 1,
    reason: `No byte for ${ms} ms`,
  })
}

/** A URL without user info, query and fragment, which may hold secrets; the empty string when there is none that can be read. */
export function shownUrl(url: string | undefined): string {
  if (url === undefined) return ''
  try {
    const { protocol, host, pathname } = new URL(url)
    return `${protocol}//${host}${pathname}`
  } catch {
    // Not a URL, so it cannot be told which part of it is secret. Whoever made the task has been told already.
    return ''
  }
}

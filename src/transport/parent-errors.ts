import { PeerError } from '../errors.ts'

/** What a reader of pieces says about a parent. One wording for every transport. */

/** The parent cannot be reached, or its connection broke. */
export function unreachable(
  parent: string,
  reason: string,
  cause?: unknown,
): PeerError<'PARENT_UNREACHABLE'> {
  const message = `Parent ${parent} cannot be reached: ${reason}`
  return new PeerError('PARENT_UNREACHABLE', message, { parent, reason }, { cause })
}

/** The parent said that it cannot serve the piece. */
export function refused(parent: string, reason: string): PeerError<'PARENT_REFUSED'> {
  const message = `Parent ${parent} cannot serve the piece: ${reason}`
  return new PeerError('PARENT_REFUSED', message, { parent, reason })
}

/** The answer is not what was asked for, or not of this protocol. */
export function protocolBroken(
  parent: string,
  found: { readonly what: string; readonly expected: string; readonly actual: string },
): PeerError<'PARENT_PROTOCOL'> {
  const { what, expected, actual } = found
  const message = `Parent ${parent} answered with another ${what}: expected ${expected}, got ${actual}`
  return new PeerError('PARENT_PROTOCOL', message, { parent, what, expected, actual })
}

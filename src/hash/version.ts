import { createHash } from 'node:crypto'

/**
 * A version of content as peers tell it each other: 32 hex digits made from the validator that the origin gave (an entity tag or a date), so that it fits into a
 * header whatever an origin put into it, and says nothing else about it. Equal tokens mean that the origin called both contents by one name.
 */
export function versionToken(validator: string): string {
  return createHash('sha256').update(validator).digest('hex').slice(0, 32)
}

/** Whether this is a token that {@link versionToken} can have made. */
export function isVersionToken(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text)
}

/** What must never be. `lost pieces`: they were kept, nobody touched them, and they are not there or not good. */
export type WrongKind =
  | 'wrong bytes'
  | 'unusable store'
  | 'leak of space'
  | 'lost pieces'
  | 'fault of a life'

/** Something that must never be. */
export class Wrong extends Error {
  readonly kind: WrongKind

  constructor(kind: WrongKind, message: string, cause?: unknown) {
    super(`${kind}: ${message}`, { cause })
    this.kind = kind
  }
}

/** Checks at the public door. Each throws a `TypeError` or `RangeError` that names the key, before any I/O. */

/** Refuses keys that are not in `known`: a misspelt option must not be silently without effect. */
export function refuseUnknown(name: string, value: object, known: readonly string[]): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${name} must be an object, got ${describe(value)}`)
  }
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) throw new TypeError(`Unknown option ${name}.${key}`)
  }
}

/** A whole number from `min` to `max`, both included. */
export function wholeNumber(name: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number') {
    throw new TypeError(`${name} must be a whole number, got ${describe(value)}`)
  }
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} must be a whole number from ${min} to ${max}, got ${value}`)
  }
  return value
}

/** A string that is not empty, at most `lengthMax` long. */
export function text(name: string, value: unknown, lengthMax = 4096): string {
  if (typeof value !== 'string')
    throw new TypeError(`${name} must be a string, got ${describe(value)}`)
  if (value.length === 0 || value.length > lengthMax) {
    throw new RangeError(`${name} must have 1 to ${lengthMax} characters, got ${value.length}`)
  }
  return value
}

/** One of the given strings. */
export function oneOf<T extends string>(name: string, value: unknown, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value)
  if (found === undefined) {
    throw new TypeError(`${name} must be one of ${choices.join(', ')}, got ${describe(value)}`)
  }
  return found
}

/** True or false. */
export function flag(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean')
    throw new TypeError(`${name} must be a boolean, got ${describe(value)}`)
  return value
}

/** A short text for a message: the kind of a value, never its content, which may be a secret. */
export function describe(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value === 'string') return `a string of ${value.length} characters`
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) return 'an array'
  return typeof value
}

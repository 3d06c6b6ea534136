import { PeerError } from '../errors.ts'

/** Whether kept memory is what the caller of `bytes()` asked for. */
export function fits(memory: Uint8Array, shared: boolean, into: Uint8Array | undefined): boolean {
  if (into !== undefined)
    return memory.buffer === into.buffer && memory.byteOffset === into.byteOffset
  return !shared || memory.buffer instanceof SharedArrayBuffer
}

/** Memory for content that is copied. */
export function allocate(length: number, shared: boolean): Uint8Array {
  return new Uint8Array(shared ? new SharedArrayBuffer(length) : new ArrayBuffer(length))
}

/** The error for content that one array cannot hold. */
export function tooLong(length: number, lengthMax: number): PeerError<'TOO_LARGE'> {
  return new PeerError('TOO_LARGE', `${length} bytes do not fit in one Uint8Array`, {
    length,
    lengthMax,
    instead: 'toFile(), iteration, stream() or a range',
  })
}

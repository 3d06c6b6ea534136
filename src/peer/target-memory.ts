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

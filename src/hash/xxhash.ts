import createXxhash from 'xxhash-wasm'

/** xxh64 with seed 0: the fast checksum over what this peer keeps. It never goes over the wire. */
export interface Xxhash {
  /** The hash of all bytes at once. */
  readonly h64: (bytes: Uint8Array) => bigint
  /** A hash of bytes that arrive in parts. Many may be under way at the same time. */
  readonly create64: () => Xxh64
}

/** One hash under way. */
export interface Xxh64 {
  /** Adds the next bytes; they are read before this returns. */
  update(bytes: Uint8Array): Xxh64
  /** The hash of everything so far; more may be added afterwards. */
  digest(): bigint
}

// WASM memory grows to the longest input given in one go and never shrinks, so long inputs (a piece may have 64 MiB) go in by parts. Parts of
// this length are also faster than the whole: the copy stays in the cache of the processor.
const partBytesMax = 256 * 1024

let loading: Promise<Xxhash> | undefined

/** Compiles the WASM module on the first call; all calls share one instance. A failed load is tried again by the next call. */
export function loadXxhash(): Promise<Xxhash> {
  loading ??= load().catch((error: unknown) => {
    loading = undefined
    throw error
  })
  return loading
}

async function load(): Promise<Xxhash> {
  const wasm = await createXxhash()
  const create64 = (): Xxh64 => {
    const hash = wasm.create64()
    const self: Xxh64 = {
      update(bytes) {
        for (let at = 0; at < bytes.length; at += partBytesMax) {
          hash.update(bytes.subarray(at, at + partBytesMax))
        }
        return self
      },
      digest: () => hash.digest(),
    }
    return self
  }
  const h64 = (bytes: Uint8Array): bigint =>
    bytes.length <= partBytesMax ? wasm.h64Raw(bytes) : create64().update(bytes).digest()
  return Object.freeze({ h64, create64 })
}

import type { Random } from '../crash/random.ts'

/** A decoder under test: what it is fed with, and what must hold for any bytes. */
export interface Target {
  readonly name: string
  /** Valid input, as another implementation would send it. */
  valid(random: Random): Uint8Array
  /** Feeds the decoder, and throws when a property does not hold. A declared error of the decoder is caught here. */
  check(bytes: Uint8Array, random: Random): void
}

/** Most processor time that one input may take, in milliseconds. The inputs have some KiB: a decoder that takes longer would hang on more. */
export const checkMsMax = 2000

/** Most memory that a decoder may ask for at once: a bound of its own, and a multiple of what it was given. */
export function allocationMax(inputBytes: number): number {
  return 128 * 1024 + 64 * inputBytes
}

/** Runs one input, and watches its time and its allocations. */
export function run(target: Target, bytes: Uint8Array, random: Random): void {
  const before = process.cpuUsage()
  const largest = largestAllocation(() => target.check(bytes, random))
  const { user, system } = process.cpuUsage(before)
  const tookMs = (user + system) / 1000
  if (tookMs > checkMsMax) throw new Error(`Took ${Math.round(tookMs)} ms`)
  const max = allocationMax(bytes.length)
  if (largest > max) throw new Error(`Asked for ${largest} bytes at once, ${max} are allowed`)
}

type Allocators = Pick<typeof Buffer, 'alloc' | 'allocUnsafe' | 'allocUnsafeSlow'>

/**
 * The most bytes that were asked for at once while `work` ran, by whatever makes memory out of a length. Counted where it is asked for: memory that is asked for and
 * never touched shows in no figure of the process.
 */
export function largestAllocation(work: () => void): number {
  let largest = 0
  const note = (length: unknown): void => {
    if (typeof length === 'number' && length > largest) largest = length
  }
  const { alloc, allocUnsafe, allocUnsafeSlow } = Buffer
  const watched: Allocators = {
    alloc: (length: number, ...rest: []) => {
      note(length)
      return alloc(length, ...rest)
    },
    allocUnsafe: (length) => {
      note(length)
      return allocUnsafe(length)
    },
    allocUnsafeSlow: (length) => {
      note(length)
      return allocUnsafeSlow(length)
    },
  }
  const own = { ArrayBuffer, Uint8Array, Array }
  const counting = <T extends object>(constructor: T): T =>
    new Proxy(constructor, {
      construct(made, args: unknown[], newTarget: () => void) {
        note(args[0])
        return Reflect.construct(made as () => void, args, newTarget) as object
      },
    })
  Object.assign(Buffer, watched)
  Object.assign(globalThis, {
    ArrayBuffer: counting(own.ArrayBuffer),
    Uint8Array: counting(own.Uint8Array),
    Array: counting(own.Array),
  })
  try {
    work()
  } finally {
    Object.assign(globalThis, own)
    Object.assign(Buffer, { alloc, allocUnsafe, allocUnsafeSlow })
  }
  return largest
}

import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt'

/** A point in time or a span on the wire, ready for `create()`. */
export interface WireTime {
  readonly seconds: bigint
  readonly nanos: number
}

/** Longest id of a host, task or peer that is taken from the wire, in characters. Real ones are `ip-hostname-uuid-seed`, below 400. */
export const idLengthMax = 1024
/** Longest URL that is taken from the wire, in characters. Signed URLs have a few thousand. */
export const urlLengthMax = 16_384
/** Longest of all other texts, in characters. */
export const textLengthMax = 4096

const u64Max = 2n ** 64n - 1n

/**
 * A length, count or rate of the wire as a number. Undefined when it is not there, and when a number cannot hold it; that covers 2⁶⁴ − 1, by
 * which schedulers say *unknown*.
 */
export function wholeOf(value: bigint | number | undefined): number | undefined {
  if (value === undefined) return undefined
  const number = Number(value)
  return Number.isSafeInteger(number) && number >= 0 ? number : undefined
}

/** A number for an unsigned 64-bit field: rounded, held within the field, 0 for NaN. Encoding would throw for others. */
export function u64(value: number): bigint {
  if (!(value > 0)) return 0n
  return value >= 2 ** 64 ? u64Max : BigInt(Math.round(value))
}

/** A number for an unsigned 32-bit field, held within it. */
export function u32(value: number): number {
  return within(value, 0, 0xffff_ffff)
}

/** A number for a signed 32-bit field, held within it. */
export function i32(value: number): number {
  return within(value, -0x8000_0000, 0x7fff_ffff)
}

function within(value: number, min: number, max: number): number {
  return Number.isNaN(value) ? 0 : Math.min(max, Math.max(min, Math.round(value)))
}

/** Wall-clock or span milliseconds for a `Timestamp` or `Duration` that is not negative. */
export function wireTime(ms: number): WireTime {
  // The bound is year 9999, past which a Timestamp is invalid.
  const held = ms > 0 ? Math.min(ms, 253_402_300_799_000) : 0
  const seconds = Math.floor(held / 1000)
  return { seconds: BigInt(seconds), nanos: Math.floor((held - seconds * 1000) * 1e6) }
}

/** Milliseconds of a `Timestamp` or `Duration`; undefined when it is missing, negative or senseless. */
export function millisOf(time: Timestamp | Duration | undefined): number | undefined {
  if (time === undefined) return undefined
  const seconds = wholeOf(time.seconds)
  if (seconds === undefined || seconds > 253_402_300_799) return undefined
  if (!(time.nanos >= 0 && time.nanos < 1e9)) return undefined
  return seconds * 1000 + Math.floor(time.nanos / 1e6)
}

/** A text that is not empty and not too long, else undefined. It is never cut: half an id is another id. */
export function textOf(value: string | undefined, lengthMax: number): string | undefined {
  return value !== undefined && value.length > 0 && value.length <= lengthMax ? value : undefined
}

/** The beginning of a text that somebody shall read. */
export function shortText(value: string, lengthMax = 1024): string {
  return value.length <= lengthMax ? value : `${value.slice(0, lengthMax - 1)}…`
}

/** The object without the keys that are undefined: optional fields on both sides are absent, not undefined. */
export function present<T extends object>(value: T): Present<T> {
  return Object.fromEntries(
    Object.entries(value).filter(([, field]) => field !== undefined),
  ) as Present<T>
}

/** `T` with each key that could be undefined made optional instead. */
export type Present<T> = {
  [K in keyof T as undefined extends T[K] ? never : K]: T[K]
} & { [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> }

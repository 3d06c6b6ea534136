import type { Random } from '../crash/random.ts'

/** Lengths and figures at which decoders go wrong. */
const figures: readonly bigint[] = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffn,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_fffen,
  0xffff_ffffn,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 64n - 1n,
]

/** Texts that mean something to somebody. */
const texts: readonly string[] = [
  ...['%00', '%2e%2e/', '../', '..\\', '\0', '\r\n', '\n', '\u2028', '\ufeff', '\ud800', '=', '*'],
  ...[
    '-',
    '--',
    '/',
    '://',
    '@',
    ':',
    '?',
    '&',
    '#',
    '[::1]',
    '0x7f',
    '1e9',
    '-0',
    'NaN',
    '__proto__',
  ],
  ...[
    'constructor',
    '9'.repeat(20),
    'bytes=',
    'bytes=-',
    'sha256:',
    'crc32:',
    '{',
    '}',
    '"',
    '\\',
    '^',
  ],
]

/** Longest input; what is inserted beyond is cut. */
export const inputBytesMax: number = 64 * 1024

/** The input with a few changes: bits, bytes, figures, texts, parts that are cut, doubled, moved, or repeated very often. */
export function mutated(input: Uint8Array, random: Random): Uint8Array {
  let bytes: Buffer = Buffer.from(input)
  for (let count = 1 + random.below(4); count > 0; count--) bytes = once(bytes, random)
  return bytes.subarray(0, inputBytesMax)
}

/** Bytes without any sense. */
export function garbage(random: Random): Uint8Array {
  const length = random.oneIn(10) ? random.below(4096) : random.below(64)
  return Uint8Array.from({ length }, () => random.below(256))
}

function once(bytes: Buffer, random: Random): Buffer {
  const at = random.below(bytes.length + 1)
  const length = random.below(Math.min(bytes.length - at, 16) + 1)
  switch (random.below(10)) {
    case 0:
      return changed(bytes, at, (byte) => byte ^ (1 << random.below(8)))
    case 1:
      return changed(bytes, at, () => random.below(256))
    case 2:
      return spliced(bytes, at, 0, garbage(random))
    case 3:
      return spliced(bytes, at, length, Buffer.alloc(0))
    case 4:
      return bytes.subarray(0, at)
    case 5:
      return spliced(bytes, at, 0, bytes.subarray(random.below(at + 1), at))
    case 6:
      return spliced(bytes, at, length, Buffer.from(random.of(texts)))
    case 7:
      return figure(bytes, at, random)
    case 8: {
      const part = bytes.subarray(at, at + Math.max(1, length))
      const times = part.length === 0 ? 0 : random.below(Math.floor(8192 / part.length))
      return spliced(bytes, at, 0, Buffer.concat(Array.from({ length: times }, () => part)))
    }
    default:
      return spliced(bytes, at, length, Buffer.from(random.of(texts).repeat(1 + random.below(200))))
  }
}

/** A figure in place of other bytes: 4 or 8 of them, or as a protobuf writes it. */
function figure(bytes: Buffer, at: number, random: Random): Buffer {
  const value = random.of(figures)
  const way = random.below(3)
  if (way === 0) {
    const four = Buffer.alloc(4)
    four.writeUInt32BE(Number(BigInt.asUintN(32, value)))
    return spliced(bytes, at, 4, four)
  }
  if (way === 1) {
    const eight = Buffer.alloc(8)
    eight.writeBigUInt64BE(value)
    return spliced(bytes, at, 8, eight)
  }
  const varint: number[] = []
  let rest = value
  for (; rest > 0x7fn; rest >>= 7n) varint.push(Number(rest & 0x7fn) | 0x80)
  varint.push(Number(rest))
  return spliced(bytes, at, random.below(3), Uint8Array.from(varint))
}

function changed(bytes: Buffer, at: number, how: (byte: number) => number): Buffer {
  const copy = Buffer.from(bytes)
  if (at < copy.length) copy[at] = how(copy[at] ?? 0) & 0xff
  return copy
}

function spliced(bytes: Buffer, at: number, cut: number, more: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at + cut)])
}

import { crc32 as zlibCrc32 } from 'node:zlib'

/**
 * CRC-32 with the IEEE polynomial (as in zlib and gzip), the checksum of every Dragonfly piece. Views over shared memory are fine.
 *
 * @param bytes - What to sum up.
 * @param previous - Result for the bytes before these; with it a long input is summed up in parts. 0, the default, starts anew.
 * @returns The checksum, an unsigned 32-bit number.
 */
export function crc32(bytes: Uint8Array, previous = 0): number {
  return zlibCrc32(bytes, previous)
}

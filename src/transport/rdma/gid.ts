import { isIP } from 'node:net'

/** Bytes of an address of a port. */
export const gidBytes = 16

/** An address of a port as text, in the way of IPv6; an IPv4 address that is mapped into it as IPv4. */
export function gidText(gid: Uint8Array): string {
  if (isMappedIpv4(gid)) return gid.subarray(12).join('.')
  const groups = Array.from({ length: 8 }, (_, at) =>
    (((gid[2 * at] ?? 0) << 8) | (gid[2 * at + 1] ?? 0)).toString(16),
  )
  return shortest(groups.join(':'))
}

/** Whether this is the address of that host. */
export function carries(gid: Uint8Array, ip: string): boolean {
  return gidText(gid) === (isIP(ip) === 6 ? shortest(ip) : ip)
}

/** Whether this is an IPv4 address (`::ffff:a.b.c.d`). */
export function isMappedIpv4(gid: Uint8Array): boolean {
  return gid.subarray(0, 10).every((byte) => byte === 0) && gid[10] === 0xff && gid[11] === 0xff
}

/** Whether it is all zeros: none. */
export function isEmpty(gid: Uint8Array): boolean {
  return gid.every((byte) => byte === 0)
}

/** Whether both are in one subnet: the first 8 bytes name it. */
export function sameSubnet(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one.subarray(0, 8), other.subarray(0, 8)) === 0
}

/** The one way to write an IPv6 address that a URL knows. */
function shortest(ip: string): string {
  return new URL(`http://[${ip}]/`).hostname.slice(1, -1)
}

import { randomUUID } from 'node:crypto'
import { isIP, SocketAddress } from 'node:net'
import { describe, text } from '../util/settings.ts'

/** What names a host of the cluster. */
export interface HostParts {
  /** The advertised address, a literal IPv4 or IPv6 address. */
  readonly ip: string
  /** The advertised host name. */
  readonly hostname: string
  /** Whether it is a seed peer. */
  readonly seedPeer: boolean
}

// The DNS ends at 253 characters, Linux at 64.
const hostnameLengthMax = 255

/**
 * The id of a host: `ip-hostname`, with `-seed` at the end for a seed peer. It is the same after a restart.
 *
 * @throws TypeError when the address is not literal. RangeError when the name is empty or too long.
 */
export function hostId(host: HostParts): string {
  return host.seedPeer ? `${stem(host)}-seed` : stem(host)
}

/**
 * The id of one download: `ip-hostname-uuid`, with `-seed` at the end for a seed peer. Every download has its own, also when two have the same task.
 *
 * @param uuid - A version 4 UUID in lower case; a fresh random one by default.
 * @throws TypeError and RangeError as {@link hostId}.
 */
export function peerId(host: HostParts, uuid: string = randomUUID()): string {
  return host.seedPeer ? `${stem(host)}-${uuid}-seed` : `${stem(host)}-${uuid}`
}

function stem(host: HostParts): string {
  return `${canonicalIp(host.ip)}-${text('hostname', host.hostname, hostnameLengthMax)}`
}

/** One spelling per address, so that a host has one id: compressed and lower case, without a zone. */
function canonicalIp(ip: string): string {
  const family = isIP(ip)
  if (family === 0 || ip.includes('%')) {
    throw new TypeError(`ip must be an IP address without a zone, got ${describe(ip)}`)
  }
  return new SocketAddress({ address: ip, family: family === 6 ? 'ipv6' : 'ipv4' }).address
}

import { isIPv4, isIPv6 } from 'node:net'
import { describe } from '../util/settings.ts'
import { sipHash24 } from './siphash.ts'

/**
 * The scheduler that has this task: on a ring with one point per scheduler, the first point at or after the key of the task, past the end
 * the smallest. Peers that differ here ask different schedulers for one task and never meet, so points and keys are bit for bit those of the
 * real client.
 *
 * @param addresses - `ip:port`, IPv6 as `[ip]:port`, in any order; names have to be resolved before. Repeated ones count once.
 * @returns `undefined` when there are no addresses.
 * @throws TypeError when an address is no IP address with a port, or the id has fewer than five bytes.
 */
export function ringOwner(addresses: readonly string[], taskId: string): string | undefined {
  return ringOrder(addresses, taskId)[0]
}

/**
 * All schedulers in the order in which to ask them for this task: the owner, then along the ring. When one goes away the others keep their
 * order, so all peers that pass it over agree on the next one. (The real client asks the owner only.)
 *
 * @throws TypeError as {@link ringOwner}.
 */
export function ringOrder(addresses: readonly string[], taskId: string): readonly string[] {
  const key = ringKey(taskId)
  const nodes = [...new Set(addresses)].map((address) => ({ address, point: ringPoint(address) }))
  // Equal points are two spellings of one address; the text then makes the order independent of the input's.
  nodes.sort((a, b) => compare(a.point, b.point) || compare(a.address, b.address))
  const owner = nodes.findIndex((node) => node.point >= key)
  const from = Math.max(owner, 0)
  return [...nodes.slice(from), ...nodes.slice(0, from)].map((node) => node.address)
}

/**
 * Where a task lies on the ring: over its first five bytes and a closing 0xff. Ids that begin alike share a scheduler.
 *
 * @throws TypeError when the id has fewer than five bytes.
 */
export function ringKey(taskId: string): bigint {
  const bytes = Buffer.from(taskId).subarray(0, 5)
  if (bytes.length < 5)
    throw new TypeError(`taskId must have at least 5 bytes, got ${bytes.length}`)
  return sipHash24(Buffer.from([...bytes, 0xff]))
}

/**
 * Where a scheduler lies on the ring. IPv4: a 64-bit 0, four octets, port. IPv6: a 64-bit 1, sixteen octets, port, flow info 0, scope 0. Numbers
 * are little-endian.
 *
 * @throws TypeError when the address is no IP address with a port from 1 to 65535.
 */
export function ringPoint(address: string): bigint {
  const parts = /^(?:\[([0-9a-f:.]{2,45})\]|([0-9.]{7,15})):([0-9]{1,5})$/i.exec(address)
  const [, v6 = '', v4 = '', portText = ''] = parts ?? []
  const port = Number(portText)
  if (port < 1 || port > 65535 || !(isIPv6(v6) || isIPv4(v4))) {
    throw new TypeError(`address must be ip:port or [ip]:port, got ${describe(address)}`)
  }
  const octets = v6 === '' ? v4.split('.').map(Number) : octetsOfV6(v6)
  const bytes = Buffer.alloc(8 + octets.length + (v6 === '' ? 2 : 10))
  bytes.writeUInt8(v6 === '' ? 0 : 1, 0)
  bytes.set(octets, 8)
  bytes.writeUInt16LE(port, 8 + octets.length)
  return sipHash24(bytes)
}

function octetsOfV6(ip: string): readonly number[] {
  // The URL parser writes any IPv6 address as hex groups with at most one gap, those with a dotted IPv4 tail too.
  const [head = '', tail = ''] = new URL(`http://[${ip}]`).hostname.slice(1, -1).split('::')
  const before = groupsOf(head)
  const after = groupsOf(tail)
  const gap = Array.from({ length: 8 - before.length - after.length }, () => 0)
  return [...before, ...gap, ...after].flatMap((group) => [group >> 8, group & 0xff])
}

function groupsOf(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
}

function compare<T extends bigint | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0
}

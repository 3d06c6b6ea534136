import { pieceCountMax } from '../../task/piece.ts'
import type { Wrong } from '../vortex.ts'
import type { Lease, LeaseRequest, QueuePairEndpoint, RdmaOffer } from './control.ts'
import { gidBytes, isEmpty } from './gid.ts'
import { leaseIdLengthMax, requestPiecesMax, ttlMsMax } from './limits.ts'

const mtus: readonly number[] = [256, 512, 1024, 2048, 4096]
/** Least time to live that makes sense: below it a lease is over before it is used. */
const ttlMsLeast = 100
const addressSpace = 1n << 64n

/** What is wrong with an endpoint from the network; undefined when it can be used. */
export function wrongEndpoint({ num, lid, gid }: QueuePairEndpoint): Wrong | undefined {
  if (!whole(num, 1, 0xff_ffff)) return wrong('queue pair number', '24 bits', num)
  if (!whole(lid, 0, 0xffff)) return wrong('local identifier', '16 bits', lid)
  if (gid.length !== gidBytes) return wrong('gid', `${gidBytes} bytes`, gid.length)
  if (lid === 0 && isEmpty(gid)) return wrong('endpoint', 'an address', 'none')
  return undefined
}

/** The same for what a parent says of its port. */
export function wrongOffer({ mtu, readsMax }: RdmaOffer): Wrong | undefined {
  if (!mtus.includes(mtu)) return wrong('MTU', mtus.join(', '), mtu)
  if (!whole(readsMax, 1, 255)) return wrong('number of reads', '1 to 255', readsMax)
  return undefined
}

/** The same for a request of a child. `mtuMax`: that of the own port. */
export function wrongRequest(request: LeaseRequest, mtuMax: number): Wrong | undefined {
  const { queuePair, mtu, taskId, pieces, wait } = request
  if (!whole(queuePair, 1, 0xff_ffff)) return wrong('queue pair number', '24 bits', queuePair)
  if (!mtus.includes(mtu) || mtu > mtuMax) return wrong('MTU', `up to ${mtuMax}`, mtu)
  if (!/^[0-9a-f]{64}$/.test(taskId)) return wrong('task id', '64 hex digits', 'something else')
  const most = wait ? 1 : requestPiecesMax
  if (pieces.length < 1 || pieces.length > most) {
    return wrong('number of pieces', `1 to ${most}`, pieces.length)
  }
  if (!pieces.every((number) => whole(number, 0, pieceCountMax - 1))) {
    return wrong('piece number', `up to ${pieceCountMax - 1}`, 'another one')
  }
  if (new Set(pieces).size !== pieces.length) return wrong('pieces', 'each once', 'one twice')
  return undefined
}

/** The same for the answer of a parent. Offsets and lengths are compared with what is wanted when a piece is used. */
export function wrongLease(lease: Lease, request: LeaseRequest): Wrong | undefined {
  const { id, pieces } = lease
  if (pieces.length === 0 && !request.wait) return undefined
  if (id.length < 1 || id.length > leaseIdLengthMax) return wrong('lease', 'an id', id.length)
  const ttl = wrongTtl(lease.ttlMs)
  if (ttl !== undefined) return ttl
  if (request.wait && pieces.length !== 1) return wrong('number of pieces', '1', pieces.length)
  const numbers = new Set<number>()
  for (const { number, length, address, key } of pieces) {
    // A piece that was waited for is compared with the question as a whole, number included.
    if (!request.wait && (!request.pieces.includes(number) || numbers.has(number))) {
      return wrong('piece number', 'one that was asked for', number)
    }
    numbers.add(number)
    if (!whole(length, 1, Number.MAX_SAFE_INTEGER)) return wrong('piece length', '1 up', length)
    if (address <= 0n || address + BigInt(length) > addressSpace) {
      return wrong('address', '64 bits', 'another one')
    }
    if (!whole(key, 0, 0xffff_ffff)) return wrong('key', '32 bits', 'another one')
  }
  return undefined
}

/** The same for a time to live. */
export function wrongTtl(ttlMs: number): Wrong | undefined {
  if (whole(ttlMs, ttlMsLeast, ttlMsMax)) return undefined
  return wrong('time to live', `${ttlMsLeast} to ${ttlMsMax} ms`, ttlMs)
}

function whole(value: number, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= max
}

function wrong(what: string, expected: string, actual: string | number): Wrong {
  return { is: 'wrong', what, expected, actual: String(actual) }
}

import { carries, gidText, isEmpty, isMappedIpv4 } from './gid.ts'
import type { NativeDevice, NativeGid, NativePort } from './native.ts'
import type { RdmaSettings } from './options.ts'

/** `ibv_port_state`. */
const active = 4
/** `link_layer` of a port. */
const ethernet = 2
/** Type of an address: RoCE version 2, which runs over UDP. */
const roceV2 = 2

/** Which port is opened, and by which of its addresses. */
export interface Choice {
  readonly is: 'chosen'
  readonly device: string
  readonly port: number
  readonly gidIndex: number
  /** The address as text. */
  readonly gid: string
}

/** Why there is none. */
export interface NoChoice {
  readonly is: 'none'
  readonly reason: string
}

interface Candidate {
  readonly device: string
  readonly port: NativePort
}

/**
 * Chooses the port: the first active one that has the address of this host, else the first active one. Version 1 of RoCE is never used: it cannot leave the
 * local network, and both ends would have to use it.
 */
export function choose(
  devices: readonly NativeDevice[],
  wanted: Pick<RdmaSettings, 'device' | 'port' | 'gidIndex'>,
  hostIp: string,
): Choice | NoChoice {
  if (devices.length === 0) return none('There is no RDMA device')
  const named = devices.filter(({ name }) => wanted.device === undefined || name === wanted.device)
  if (named.length === 0) {
    return none(`There is no RDMA device ${wanted.device}, only ${names(devices)}`)
  }
  const ports: Candidate[] = named.flatMap(({ name: device, ports: all }) =>
    all
      .filter(({ port }) => wanted.port === undefined || port === wanted.port)
      .map((port) => ({ device, port })),
  )
  if (ports.length === 0) return none(`Device ${names(named)} has no port ${wanted.port ?? ''}`)
  const up = ports.filter(({ port }) => port.state === active)
  if (up.length === 0) return none(`No port of ${names(named)} is active`)
  const own = up.find(({ port }) => addressesOf(port).some(({ gid }) => carries(gid, hostIp)))
  for (const candidate of own === undefined ? up : [own, ...up]) {
    const gid = addressOf(candidate.port, wanted.gidIndex, hostIp)
    if (gid === undefined) continue
    const { device, port } = candidate
    return {
      is: 'chosen',
      device,
      port: port.port,
      gidIndex: gid.index,
      gid: gidText(gid.gid),
    }
  }
  return none(
    wanted.gidIndex === undefined
      ? `No port of ${names(named)} has a RoCE version 2 address`
      : `No port of ${names(named)} has an address with index ${wanted.gidIndex}`,
  )
}

function addressOf(
  port: NativePort,
  index: number | undefined,
  hostIp: string,
): NativeGid | undefined {
  const all = addressesOf(port)
  if (index !== undefined) return port.gids.find((gid) => gid.index === index)
  return (
    all.find(({ gid }) => carries(gid, hostIp)) ??
    all.find(({ gid }) => isMappedIpv4(gid)) ??
    all.at(0)
  )
}

/** Addresses that can be used: on Ethernet those of version 2. */
function addressesOf(port: NativePort): readonly NativeGid[] {
  return port.gids.filter(
    ({ type, gid }) => !isEmpty(gid) && (port.linkLayer !== ethernet || type === roceV2),
  )
}

function none(reason: string): NoChoice {
  return { is: 'none', reason }
}

function names(devices: readonly NativeDevice[]): string {
  return devices.map(({ name }) => name).join(', ')
}

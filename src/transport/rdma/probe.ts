import { type Addon, loadAddon } from './addon.ts'
import { choose } from './choice.ts'
import { gidText } from './gid.ts'
import { machine, type RdmaMachine } from './machine.ts'
import type { NativeDevice, NativeGid, NativePort } from './native.ts'
import { nativeReason } from './native-failure.ts'
import { type RdmaOptions, rdmaSettings } from './options.ts'

/** Memory that may be locked below which a piece of the smallest kind and its window do not fit. */
const memlockBytesLeast = 64 * 1024 * 1024

/** What this machine has for RDMA. */
export interface RdmaProbe extends RdmaMachine {
  /** Whether pieces can travel over RDMA from here. */
  readonly supported: boolean
  /** Why not, in plain English; what limits it when it is supported. Empty when there is nothing to say. */
  readonly reason: string
  /** Devices, as the kernel names them. */
  readonly devices: readonly RdmaDevice[]
}

/** A device. */
export interface RdmaDevice {
  /** As `ibv_devices` shows it. */
  readonly name: string
  /** Its ports. */
  readonly ports: readonly RdmaDevicePort[]
}

/** A port of a device. */
export interface RdmaDevicePort {
  /** From 1 on. */
  readonly port: number
  /** The cable is in, and the other side answers. */
  readonly active: boolean
  /** What it is plugged into. */
  readonly link: 'infiniband' | 'ethernet' | 'other'
  /** Bytes. */
  readonly mtu: number
  /** Local identifier; 0 on Ethernet. */
  readonly lid: number
  /** Its addresses. */
  readonly gids: readonly RdmaGid[]
}

/** An address of a port. */
export interface RdmaGid {
  /** What `gidIndex` names. */
  readonly index: number
  /** As text: an IPv4 address where it holds one. */
  readonly address: string
  /** Only version 2 of RoCE is used. */
  readonly type: 'infiniband' | 'roce-v1' | 'roce-v2' | 'other'
}

/**
 * Looks what there is. Opens no device, and never rejects but for options that do not exist.
 *
 * @throws TypeError, RangeError naming the option
 */
export async function probe(
  options: Pick<RdmaOptions, 'library' | 'device' | 'port' | 'gidIndex'> = {},
  load: () => Addon = () => loadAddon(),
): Promise<RdmaProbe> {
  const settings = rdmaSettings(options)
  const facts = await machine()
  const no = (reason: string, devices: readonly RdmaDevice[] = []): RdmaProbe => ({
    supported: false,
    reason,
    devices,
    ...facts,
  })
  const loaded = load()
  if ('reason' in loaded) return no(loaded.reason)
  try {
    loaded.native.load(settings.library)
    const found = await loaded.native.devices()
    const devices = found.map(shownDevice)
    const choice = choose(found, settings, '')
    if (choice.is === 'none') return no(choice.reason, devices)
    return { supported: true, reason: memlockReason(facts), devices, ...facts }
  } catch (error) {
    return no(nativeReason(error))
  }
}

function memlockReason({ memlockBytes }: RdmaMachine): string {
  if (memlockBytes === undefined || memlockBytes >= memlockBytesLeast) return ''
  const KiB = Math.floor(memlockBytes / 1024)
  return `This process may lock ${KiB} KiB of memory only (ulimit -l): registering may fail, and pieces go another way then`
}

function shownDevice({ name, ports }: NativeDevice): RdmaDevice {
  return { name, ports: ports.map(shownPort) }
}

function shownPort({ port, state, activeMtu, lid, linkLayer, gids }: NativePort): RdmaDevicePort {
  return {
    port,
    active: state === 4,
    link: (['other', 'infiniband', 'ethernet'] as const)[linkLayer] ?? 'other',
    mtu: activeMtu,
    lid,
    gids: gids.map(shownGid),
  }
}

function shownGid({ index, gid, type }: NativeGid): RdmaGid {
  return {
    index,
    address: gidText(gid),
    type: (['infiniband', 'roce-v1', 'roce-v2'] as const)[type] ?? 'other',
  }
}

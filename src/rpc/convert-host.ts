import { isIP } from 'node:net'

import type { MessageInitShape } from '@bufbuild/protobuf'

import { i32, idLengthMax, present, textLengthMax, textOf, u32, u64, wholeOf } from './convert.ts'
import type { Host, HostSchema } from './gen/common/v2/common_pb.ts'

/** What a peer tells about its host. Bandwidths are bits per second, sizes are bytes, shares are percent. */
export interface HostFigures {
  readonly id: string
  readonly hostname: string
  /** A literal address. */
  readonly ip: string
  /** Of the gRPC upload service. Go schedulers want 1024 to 65534. */
  readonly port: number
  readonly seed: boolean
  readonly proxyPort?: number
  /** Go schedulers show it. @defaultValue `hostname` */
  readonly name?: string
  readonly os?: string
  /** @defaultValue `os` */
  readonly platformFamily?: string
  readonly platformVersion?: string
  readonly kernelVersion?: string
  readonly idc?: string
  /** `|`-separated, from wide to narrow. */
  readonly location?: string
  /** Takes pieces and gives none. */
  readonly disableShared?: boolean
  readonly schedulerClusterId?: number
  readonly cpu?: {
    readonly logicalCount: number
    readonly physicalCount: number
    readonly percent: number
    readonly processPercent: number
  }
  readonly memory?: {
    readonly total: number
    readonly available: number
    readonly used: number
    readonly usedPercent: number
    readonly processUsedPercent: number
    readonly free: number
  }
  /** @defaultValue 400 Gbit/s each way; at 0 a Go scheduler ranks this host last */
  readonly network?: {
    readonly maxRx: number
    readonly rx: number
    readonly maxTx: number
    readonly tx: number
  }
  readonly disk?: {
    readonly total: number
    readonly free: number
    readonly used: number
    readonly usedPercent: number
    /** Of this process. */
    readonly readBytesPerSecond?: number
    readonly writeBytesPerSecond?: number
  }
  /** Version of this package. */
  readonly version?: string
}

/** What `Build.platform` says on hosts that run this package. The embedded scheduler answers them more than five times. */
export const ownPlatform = 'dragonfly-peer'

/** What the Rust daemon says of a card whose speed it does not know. */
const bandwidthDefault = 400e9

/** Our figures as the wire's `Host`. Shares and sizes are held within the fields, because Go schedulers refuse the others. */
export function hostMessage(figures: HostFigures): MessageInitShape<typeof HostSchema> {
  const { cpu, memory, disk, idc, location } = figures
  const network = figures.network ?? {
    maxRx: bandwidthDefault,
    rx: 0,
    maxTx: bandwidthDefault,
    tx: 0,
  }
  return {
    id: figures.id,
    type: figures.seed ? 1 : 0,
    hostname: figures.hostname,
    ip: figures.ip,
    port: i32(figures.port),
    downloadPort: i32(figures.port),
    proxyPort: i32(figures.proxyPort ?? 0),
    name: figures.name ?? figures.hostname,
    os: figures.os ?? '',
    platform: figures.os ?? '',
    platformFamily: figures.platformFamily ?? figures.os ?? '',
    platformVersion: figures.platformVersion ?? '',
    kernelVersion: figures.kernelVersion ?? '',
    // Always there: a Go scheduler with Redis fails without it (controlplane 2.1).
    cpu: {
      logicalCount: u32(cpu?.logicalCount ?? 0),
      physicalCount: u32(cpu?.physicalCount ?? 0),
      percent: Math.max(0, share(cpu?.percent ?? 0)),
      processPercent: Math.max(0, share(cpu?.processPercent ?? 0)),
    },
    ...(memory === undefined ? {} : { memory: memoryMessage(memory) }),
    network: {
      maxRxBandwidth: u64(network.maxRx),
      rxBandwidth: u64(network.rx),
      maxTxBandwidth: u64(network.maxTx),
      txBandwidth: u64(network.tx),
      ...present({ idc, location }),
    },
    ...(disk === undefined ? {} : { disk: diskMessage(disk) }),
    build: { gitVersion: figures.version ?? 'unknown', platform: ownPlatform },
    schedulerClusterId: u64(figures.schedulerClusterId ?? 0),
    disableShared: figures.disableShared ?? false,
  }
}

function memoryMessage(memory: NonNullable<HostFigures['memory']>) {
  return {
    total: u64(memory.total),
    available: u64(memory.available),
    used: u64(memory.used),
    usedPercent: share(memory.usedPercent),
    processUsedPercent: share(memory.processUsedPercent),
    free: u64(memory.free),
  }
}

function diskMessage(disk: NonNullable<HostFigures['disk']>) {
  return {
    total: u64(disk.total),
    free: u64(disk.free),
    used: u64(disk.used),
    usedPercent: share(disk.usedPercent),
    readBandwidth: u64(disk.readBytesPerSecond ?? 0),
    writeBandwidth: u64(disk.writeBytesPerSecond ?? 0),
  }
}

function share(percent: number): number {
  return percent > 0 ? Math.min(percent, 100) : 0
}

/** What a scheduler keeps of a `Host`: checked and bounded. */
export interface HostFacts {
  readonly id: string
  readonly hostname: string
  readonly ip: string
  /** Of the gRPC upload service, for standard tasks. */
  readonly port: number
  /** The same service again, for persistent kinds. */
  readonly downloadPort: number
  /** 0 normal, 1 seed; 2 and 3 are old kinds of seeds that nobody triggers. */
  readonly type: number
  readonly disableShared: boolean
  /** Runs this package. */
  readonly own: boolean
  readonly name: string
  readonly os: string
  readonly idc?: string
  readonly location?: string
  /** Bytes; undefined when the host does not tell. */
  readonly diskFree?: number
  /** Bits per second. */
  readonly maxTx: number
  readonly tx: number
}

/** Reads a `Host`; a text says what is wrong with one that cannot be used. */
export function hostFacts(host: Host | undefined): HostFacts | string {
  if (host === undefined) return 'The host is missing'
  const id = textOf(host.id, idLengthMax)
  const hostname = textOf(host.hostname, textLengthMax)
  if (id === undefined || hostname === undefined) return 'The host has no usable id or hostname'
  if (!isAddress(host.ip)) return 'The ip of the host is no literal address'
  if (!isPort(host.port)) return 'The port of the host is not in 1 to 65535'
  if (host.type > 3) return 'The type of the host is not in 0 to 3'
  return {
    id,
    hostname,
    ip: host.ip,
    port: host.port,
    downloadPort: isPort(host.downloadPort) ? host.downloadPort : host.port,
    type: host.type,
    disableShared: host.disableShared,
    own: host.build?.platform === ownPlatform,
    name: textOf(host.name, textLengthMax) ?? '',
    os: textOf(host.os, textLengthMax) ?? '',
    maxTx: wholeOf(host.network?.maxTxBandwidth) ?? 0,
    tx: wholeOf(host.network?.txBandwidth) ?? 0,
    ...present({
      idc: textOf(host.network?.idc, textLengthMax),
      location: textOf(host.network?.location, textLengthMax),
      diskFree: wholeOf(host.disk?.free),
    }),
  }
}

/** Whether this is a literal IP address. Zones are refused: they mean something on one machine only. */
export function isAddress(ip: string): boolean {
  return isIP(ip) !== 0 && !ip.includes('%')
}

/** Whether this is a port that can be connected to. */
export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65535
}

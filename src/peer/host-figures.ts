import os from 'node:os'
import type { HostFigures } from '../rpc/convert-host.ts'
import { userAgent } from '../source/user-agent.ts'
import type { Clock } from '../util/clock.ts'
import {
  coreCounts,
  diskBytes,
  linkSpeed,
  type MachineCounts,
  machineCounts,
  memoryBytes,
  platformVersion,
} from './machine.ts'
import type { PeerLimits } from './options.ts'
import type { Settings } from './settings.ts'
import type { HostIdentity } from './world.ts'

/**
 * Bits per second that a host is taken to send and receive when neither a limit nor the speed of its network card is known. The Rust daemon says 50 GB/s then, and draws
 * parents by this figure: who says less gets a small part of the children.
 */
export const bandwidthDefault: number = 400e9

/** Milliseconds for which figures are taken for fresh: they are asked for with each download. */
export const figuresMs: number = 1000

/** What the gauge reads. */
export interface GaugeParts {
  readonly host: HostIdentity
  readonly settings: Settings
  /** The limits of now. @defaultValue those of `settings` */
  readonly limits?: () => PeerLimits
  /** Folder whose file system is told about. */
  readonly storeDir: string
  readonly clock: Clock
  /** Bytes of pieces sent to other peers since the start. */
  readonly sentBytes: () => number
  /** Bytes fetched from other peers and origins since the start. */
  readonly receivedBytes: () => number
}

interface Sample extends MachineCounts {
  readonly atMs: number
  readonly sent: number
  readonly received: number
}

/** Measures what the scheduler is told about this host (controlplane 2.1). Rates and shares are those of the time since the figures before. */
export class HostGauge {
  readonly #parts: GaugeParts
  readonly #cores = coreCounts()
  readonly #card: number
  #sample: Sample | undefined
  #figures: HostFigures | undefined

  constructor(parts: GaugeParts) {
    this.#parts = parts
    this.#card = linkSpeed(parts.host.ip) ?? bandwidthDefault
  }

  /** Bits per second that can be sent: the smaller of the card's speed and the limit of now. */
  get maxTx(): number {
    return this.#within(this.#limits.uploadBytesPerSecond)
  }

  /** Bits per second that can be received, as `maxTx`. */
  get maxRx(): number {
    return this.#within(this.#limits.downloadBytesPerSecond)
  }

  get #limits(): PeerLimits {
    return this.#parts.limits?.() ?? this.#parts.settings.limits
  }

  #within(bytesPerSecond: number | undefined): number {
    return Math.min(this.#card, (bytesPerSecond ?? Number.POSITIVE_INFINITY) * 8)
  }

  /** The figures of now. */
  figures(): HostFigures {
    const now = this.#parts.clock.now()
    const before = this.#sample
    if (this.#figures !== undefined && before !== undefined && now - before.atMs < figuresMs) {
      return this.#figures
    }
    const sample: Sample = {
      ...machineCounts(),
      atMs: now,
      sent: this.#parts.sentBytes(),
      received: this.#parts.receivedBytes(),
    }
    this.#sample = sample
    this.#figures = this.#measure(sample, before)
    return this.#figures
  }

  #measure(sample: Sample, before: Sample | undefined): HostFigures {
    const { host, settings, storeDir } = this.#parts
    const { idc, location } = settings.host
    const seconds = before === undefined ? 0 : (sample.atMs - before.atMs) / 1000
    const rate = (key: 'sent' | 'received' | 'diskReadBytes' | 'diskWriteBytes'): number =>
      before === undefined || seconds <= 0 ? 0 : Math.max(0, sample[key] - before[key]) / seconds
    const disk = diskBytes(storeDir)
    return {
      id: host.id,
      hostname: host.hostname,
      ip: host.ip,
      port: host.port,
      seed: settings.seedPeer,
      os: os.platform(),
      platformFamily: os.platform() === 'win32' ? 'windows' : 'unix',
      platformVersion: platformVersion(),
      kernelVersion: os.release(),
      version: userAgent.slice(userAgent.indexOf('/') + 1),
      cpu: {
        logicalCount: this.#cores.logical,
        physicalCount: this.#cores.physical,
        ...cpuShares(sample, before),
      },
      memory: memoryFigures(),
      network: {
        maxRx: this.maxRx,
        rx: rate('received') * 8,
        maxTx: this.maxTx,
        tx: rate('sent') * 8,
      },
      ...(disk === undefined
        ? {}
        : {
            disk: {
              ...disk,
              used: disk.total - disk.free,
              usedPercent: percent(disk.total - disk.free, disk.total),
              readBytesPerSecond: rate('diskReadBytes'),
              writeBytesPerSecond: rate('diskWriteBytes'),
            },
          }),
      ...(idc === undefined ? {} : { idc }),
      ...(location === undefined ? {} : { location }),
    }
  }
}

/** Shares of all cores together; the first time since the start of the machine. */
function cpuShares(
  sample: Sample,
  before: Sample | undefined,
): { readonly percent: number; readonly processPercent: number } {
  const cpuMs = sample.cpuMs - (before?.cpuMs ?? 0)
  const idleMs = sample.cpuIdleMs - (before?.cpuIdleMs ?? 0)
  const processMs = sample.processCpuMs - (before?.processCpuMs ?? 0)
  return { percent: percent(cpuMs - idleMs, cpuMs), processPercent: percent(processMs, cpuMs) }
}

function memoryFigures(): NonNullable<HostFigures['memory']> {
  const { total, available } = memoryBytes()
  const used = total - available
  return {
    total,
    available,
    used,
    usedPercent: percent(used, total),
    processUsedPercent: percent(process.memoryUsage.rss(), total),
    free: available,
  }
}

/** Within 0 and 100, whatever clocks and counters do: Go schedulers refuse other shares. */
function percent(part: number, whole: number): number {
  return whole > 0 ? Math.min(100, Math.max(0, (part / whole) * 100)) : 0
}

/** The first address of this machine that others can reach, IPv4 before IPv6; loopback when there is none. */
export function externalAddress(): string {
  const all = Object.values(os.networkInterfaces()).flatMap((list) => list ?? [])
  const usable = all.filter(({ internal, scopeid }) => !internal && !(scopeid ?? 0))
  const found = usable.find(({ family }) => family === 'IPv4') ?? usable[0]
  return found?.address ?? '127.0.0.1'
}

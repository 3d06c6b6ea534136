import { statfsSync } from 'node:fs'
import os from 'node:os'
import type { HostFigures } from '../rpc/convert-host.ts'
import { userAgent } from '../source/user-agent.ts'
import type { Settings } from './settings.ts'
import type { HostIdentity } from './world.ts'

/** Bits per second that a host is taken to send and receive when no limit is set. */
export const bandwidthDefault: number = 10e9

/** What the scheduler is told about this host. Read anew for each announcement. */
export function hostFigures(host: HostIdentity, settings: Settings, storeDir: string): HostFigures {
  const { idc, location } = settings.host
  const upload = settings.limits.uploadBytesPerSecond
  const download = settings.limits.downloadBytesPerSecond
  return {
    id: host.id,
    hostname: host.hostname,
    ip: host.ip,
    port: host.port,
    seed: settings.seedPeer,
    os: os.platform(),
    platformVersion: os.release(),
    kernelVersion: os.version(),
    version: userAgent.slice(userAgent.indexOf('/') + 1),
    cpu: cpuFigures(),
    memory: memoryFigures(),
    disk: diskFigures(storeDir),
    network: {
      maxRx: download === undefined ? bandwidthDefault : download * 8,
      rx: 0,
      maxTx: upload === undefined ? bandwidthDefault : upload * 8,
      tx: 0,
    },
    ...(idc === undefined ? {} : { idc }),
    ...(location === undefined ? {} : { location }),
  }
}

function cpuFigures(): NonNullable<HostFigures['cpu']> {
  const count = Math.max(1, os.cpus().length)
  const { user, system } = process.cpuUsage()
  return {
    logicalCount: count,
    physicalCount: count,
    percent: Math.min(100, ((os.loadavg()[0] ?? 0) / count) * 100),
    processPercent: Math.min(100, (user + system) / 1e4 / (process.uptime() * count)),
  }
}

function memoryFigures(): NonNullable<HostFigures['memory']> {
  const total = os.totalmem()
  const free = os.freemem()
  return {
    total,
    available: free,
    used: total - free,
    usedPercent: ((total - free) / total) * 100,
    processUsedPercent: (process.memoryUsage.rss() / total) * 100,
    free,
  }
}

function diskFigures(dir: string): NonNullable<HostFigures['disk']> {
  const { blocks, bavail, bsize } = statfsSync(dir)
  const total = blocks * bsize
  const free = bavail * bsize
  return { total, free, used: total - free, usedPercent: ((total - free) / total) * 100 }
}

/** The first address of this machine that others can reach, IPv4 before IPv6; loopback when there is none. */
export function externalAddress(): string {
  const all = Object.values(os.networkInterfaces()).flatMap((list) => list ?? [])
  const usable = all.filter(({ internal, scopeid }) => !internal && !(scopeid ?? 0))
  const found = usable.find(({ family }) => family === 'IPv4') ?? usable[0]
  return found?.address ?? '127.0.0.1'
}

import { readFileSync, statfsSync } from 'node:fs'
import os from 'node:os'

/** What the system counts from its start, and this process from its own. All of it only grows. */
export interface MachineCounts {
  /** Milliseconds of all cores together. */
  readonly cpuMs: number
  /** Of them, those that nobody used. */
  readonly cpuIdleMs: number
  /** Of them, those of this process. */
  readonly processCpuMs: number
  /** Bytes that this process read from disks and wrote to them; 0 where the system does not tell. */
  readonly diskReadBytes: number
  readonly diskWriteBytes: number
}

/** Reads the counts. */
export function machineCounts(): MachineCounts {
  const cores = os.cpus().map(({ times }) => times)
  const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0)
  const { user, system } = process.cpuUsage()
  const io = textOf('/proc/self/io') ?? ''
  return {
    cpuMs: sum(cores.flatMap((times) => Object.values(times))),
    cpuIdleMs: sum(cores.map(({ idle }) => idle)),
    processCpuMs: (user + system) / 1000,
    diskReadBytes: numberAfter(io, 'read_bytes: '),
    diskWriteBytes: numberAfter(io, 'write_bytes: '),
  }
}

/** Cores that are there in metal, and those that the system sees. */
export function coreCounts(): { readonly physical: number; readonly logical: number } {
  const logical = Math.max(1, os.cpus().length)
  const blocks = (textOf('/proc/cpuinfo') ?? '').split('\n\n')
  const cores = blocks.flatMap((block) => {
    const core = /^core id\s*:\s*(\d+)$/m.exec(block)?.[1]
    const chip = /^physical id\s*:\s*(\d+)$/m.exec(block)?.[1]
    return core === undefined ? [] : [`${chip ?? ''}/${core}`]
  })
  return { logical, physical: new Set(cores).size || logical }
}

/** Memory in bytes, as far as this process may use it: a container's limit counts. */
export function memoryBytes(): { readonly total: number; readonly available: number } {
  const limit = process.constrainedMemory()
  const machine = os.totalmem()
  const total = limit > 0 && limit < machine ? limit : machine
  return { total, available: Math.min(os.freemem(), total) }
}

/** Bytes of the file system below a folder; undefined when the folder is not there. */
export function diskBytes(
  dir: string,
): { readonly total: number; readonly free: number } | undefined {
  try {
    const { blocks, bavail, bsize } = statfsSync(dir)
    return { total: blocks * bsize, free: bavail * bsize }
  } catch {
    // Whoever took the folder away learns it from the store. A host without figures is still a host.
    return undefined
  }
}

/** Bits per second of the network card that has this address; undefined for loopback, virtual cards and other systems, which tell none. */
export function linkSpeed(ip: string): number | undefined {
  const found = Object.entries(os.networkInterfaces()).find(([, addresses]) =>
    addresses?.some(({ address }) => address === ip),
  )
  if (found === undefined) return undefined
  // An alias such as eth0:1 is a name of the same card.
  const [card = ''] = found[0].split(':')
  const megabits = Number(textOf(`/sys/class/net/${card}/speed`) ?? '')
  return megabits > 0 ? megabits * 1e6 : undefined
}

/** Version of the distribution where it tells one, else of the kernel. */
export function platformVersion(): string {
  const version = /^VERSION_ID="?([^"\n]*)"?$/m.exec(textOf('/etc/os-release') ?? '')?.[1]
  return version || os.release()
}

/** Files of /proc and /sys: small, and answered by the kernel without a disk. */
function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // Another system, or a kernel that does not tell: the figure is left out.
    return undefined
  }
}

function numberAfter(text: string, name: string): number {
  return Number(new RegExp(`^${name}(\\d+)$`, 'm').exec(text)?.[1] ?? 0)
}

import { readFile } from 'node:fs/promises'

/** Number of the right to lock memory without limit (`CAP_IPC_LOCK`). */
const capabilityIpcLock = 14n

/** What a machine offers for RDMA beside a device. Undefined: the kernel does not tell. */
export interface RdmaMachine {
  /** Bytes that this process may lock; `Infinity` without a limit. */
  readonly memlockBytes: number | undefined
  /** Free huge pages of 2 MiB that were set aside. Without any, transparent ones are used where the kernel gives them. */
  readonly hugePagesFree: number | undefined
  /** When the kernel makes huge pages by itself: `always`, `madvise` or `never`. */
  readonly transparentHugePages: string | undefined
}

/** Asks the kernel. Never rejects. */
export async function machine(): Promise<RdmaMachine> {
  const [limits, status, memory, transparent] = await Promise.all(
    [
      '/proc/self/limits',
      '/proc/self/status',
      '/proc/meminfo',
      '/sys/kernel/mm/transparent_hugepage/enabled',
    ].map(read),
  )
  return {
    memlockBytes: memlockOf(limits ?? '', status ?? ''),
    hugePagesFree: numberIn(/^HugePages_Free:\s+(\d+)$/m, memory ?? ''),
    transparentHugePages: /\[(\w+)\]/.exec(transparent ?? '')?.[1],
  }
}

/** How much memory a process may lock, from `/proc/self/limits` and `/proc/self/status`. */
export function memlockOf(limits: string, status: string): number | undefined {
  const capabilities = /^CapEff:\s+([0-9a-f]+)$/m.exec(status)?.[1]
  if (capabilities !== undefined && (BigInt(`0x${capabilities}`) >> capabilityIpcLock) & 1n) {
    return Number.POSITIVE_INFINITY
  }
  const soft = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1]
  if (soft === undefined) return undefined
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft)
}

function numberIn(pattern: RegExp, text: string): number | undefined {
  const found = pattern.exec(text)?.[1]
  return found === undefined ? undefined : Number(found)
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    // Not Linux, or a container without that file.
    return undefined
  }
}

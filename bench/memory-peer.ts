/** A peer in a process of its own, for `memory.ts`. */
import { readFileSync } from 'node:fs'
import { Peer, type PeerOptions } from 'dragonfly-peer'

/** What `memory.ts` tells this process. */
export type Order =
  | { readonly is: 'start'; readonly options: PeerOptions }
  | {
      readonly is: 'download'
      readonly url: string
      readonly path: string
      readonly backToSource: 'allow' | 'never'
    }
  | { readonly is: 'seed'; readonly url: string; readonly path: string }
  | { readonly is: 'measure' }
  | { readonly is: 'close' }

/** What it answers to each order but `close`. */
export interface Answer {
  readonly scheduler: string
  readonly seconds: number
  /** Peak of the resident memory until now. */
  readonly peakBytes: number
  /** Processor time until now, user and system. */
  readonly cpuSeconds: number
}

let peer: Peer | undefined

async function act(order: Order): Promise<void> {
  const begun = performance.now()
  if (order.is === 'start') peer = await Peer.start(order.options)
  if (order.is === 'download') {
    const { url, path, backToSource } = order
    await peer?.download(url, { backToSource }).toFile(path)
  }
  if (order.is === 'seed') await peer?.seed(order.path, { url: order.url })
  if (order.is === 'close') {
    await peer?.close()
    process.disconnect()
    return
  }
  const { user, system } = process.cpuUsage()
  const answer: Answer = {
    scheduler: peer?.schedulerAddress ?? '',
    seconds: (performance.now() - begun) / 1000,
    peakBytes: peakBytes(),
    cpuSeconds: (user + system) / 1e6,
  }
  process.send?.(answer)
}

/** The kernel's own high-water mark: no sampling can miss a peak. */
function peakBytes(): number {
  const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return Number(kibibytes) * 1024
}

process.on('message', (order: Order) => {
  // A failure ends the process, and so the benchmark.
  void act(order)
})

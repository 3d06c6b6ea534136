/** A process of `rdma.ts`: a peer in memory whose pieces travel over RDMA or over TCP. */
import { subscribe } from 'node:diagnostics_channel'
import { type HookMessages, Peer, type PeerOptions, rdma, tcp } from 'dragonfly-peer'

/** What `rdma.ts` tells this process. */
export type Order =
  | {
      readonly is: 'start'
      readonly scheduler?: string
      /** The verbs library; TCP only without one. */
      readonly library?: string
    }
  /** Downloads into memory that is there before (`ready`), or into what `bytes()` takes. */
  | {
      readonly is: 'download'
      readonly url: string
      readonly bytes: number
      readonly ready: boolean
      readonly backToSource: 'allow' | 'never'
    }
  | { readonly is: 'measure' }
  | { readonly is: 'close' }

/** What it answers to each order. */
export interface Answer {
  readonly scheduler: string
  /** Of the last download. */
  readonly seconds: number
  /** Processor time until now, user and system; after a download that of the download. */
  readonly cpuSeconds: number
  /** Pieces that came over each transport, until now. */
  readonly pieces: Readonly<Record<string, number>>
}

const pieces: Record<string, number> = {}
/** Content is kept by a peer as long as the application holds it. */
const inUse: Uint8Array[] = []
let peer: Peer | undefined
let seconds = 0

subscribe('dragonfly-peer:piece:kept', (message) => {
  const { transport = 'source' } = message as HookMessages['dragonfly-peer:piece:kept']
  pieces[transport] = (pieces[transport] ?? 0) + 1
})

process.on('message', (order: Order) => {
  // A failure ends the process, and so the benchmark.
  void act(order)
})

async function act(order: Order): Promise<void> {
  if (order.is === 'start') peer = await Peer.start(optionsOf(order))
  let before = 0
  if (order.is === 'download') [seconds, before] = await download(order)
  if (order.is === 'close') {
    inUse.length = 0
    await peer?.close()
    peer = undefined
  }
  const cpuSeconds = cpuUntilNow() - before
  const scheduler = peer?.schedulerAddress ?? ''
  process.send?.({ scheduler, seconds, cpuSeconds, pieces } satisfies Answer)
}

function optionsOf({ scheduler, library }: Order & { readonly is: 'start' }): PeerOptions {
  return {
    store: 'memory',
    transports: library === undefined ? [tcp()] : [rdma({ library }), tcp()],
    ...(scheduler === undefined ? {} : { scheduler }),
  }
}

/** How long it took, and the processor time before. */
async function download(order: Order & { readonly is: 'download' }): Promise<[number, number]> {
  const { url, bytes, ready, backToSource } = order
  const into = ready ? await peer?.allocate(bytes) : undefined
  // Memory of `allocate()` without RDMA is not touched yet, and touching it is what both are to be spared.
  into?.fill(1)
  const before = cpuUntilNow()
  const begun = performance.now()
  const started = peer?.download(url, { backToSource, ...(into === undefined ? {} : { into }) })
  if (into === undefined) inUse.push((await started?.bytes()) ?? new Uint8Array())
  else inUse.push(into)
  await started?.done
  return [(performance.now() - begun) / 1000, before]
}

function cpuUntilNow(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

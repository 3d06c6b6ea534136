/** A peer in a process of its own, for `small.ts`. Run with `--expose-gc`. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { Peer, type PeerOptions } from '../src/index.ts'
import { calm } from './calm.ts'

/** How content is taken: into memory, into a file, or into the store alone. */
export type Way = 'bytes' | 'file' | 'store'

/** What `small.ts` tells this process. */
export type Order =
  | { readonly is: 'start'; readonly options: PeerOptions }
  | {
      readonly is: 'fetch'
      readonly urls: readonly string[]
      readonly way: Way
      /** Downloads at the same time. */
      readonly atOnce: number
      readonly backToSource: 'allow' | 'never'
      /** Empty folder for files; used with `file` alone. */
      readonly folder: string
    }
  | { readonly is: 'measure' }
  | { readonly is: 'close' }

/** What it answers to each order but `close`. */
export interface Answer {
  readonly scheduler: string
  /** Milliseconds that the order took. */
  readonly ms: number
  /** Milliseconds of each download, in the order in which they began. */
  readonly latencies: readonly number[]
  /** Of the process, after collecting garbage: only with `measure`. */
  readonly residentBytes: number
  readonly heapBytes: number
  readonly descriptors: number
  /** Milliseconds of one `explain()` and of one `usage()`: only with `measure`. */
  readonly explainMs: number
  readonly usageMs: number
  /** Tasks that are kept. */
  readonly tasks: number
  readonly cpuSeconds: number
}

let peer: Peer | undefined

async function act(order: Order): Promise<void> {
  const begun = performance.now()
  let latencies: readonly number[] = []
  if (order.is === 'start') peer = await Peer.start(order.options)
  if (order.is === 'fetch') latencies = await fetchAll(order)
  if (order.is === 'close') {
    await peer?.close()
    process.disconnect()
    return
  }
  const ms = performance.now() - begun
  if (order.is === 'measure') await settle()
  const { user, system } = process.cpuUsage()
  const { rss, heapUsed } = process.memoryUsage()
  const usage = peer?.usage()
  const answer: Answer = {
    scheduler: peer?.schedulerAddress ?? '',
    ms,
    latencies,
    residentBytes: rss,
    heapBytes: heapUsed,
    descriptors: readdirSync('/proc/self/fd').length,
    explainMs: timed(() => peer?.explain()),
    usageMs: timed(() => peer?.usage()),
    tasks: (usage?.disk?.tasks ?? 0) + (usage?.memory.tasks ?? 0),
    cpuSeconds: (user + system) / 1e6,
  }
  process.send?.(answer)
}

async function fetchAll(order: Order & { is: 'fetch' }): Promise<readonly number[]> {
  const latencies: number[] = []
  let next = 0
  const work = async (): Promise<void> => {
    for (let at = next++; at < order.urls.length; at = next++) {
      const begun = performance.now()
      await fetchOne(order, at)
      latencies[at] = performance.now() - begun
    }
  }
  await Promise.all(Array.from({ length: order.atOnce }, work))
  return latencies
}

async function fetchOne(
  { urls, way, backToSource, folder }: Order & { is: 'fetch' },
  at: number,
): Promise<void> {
  const download = peer?.download(urls[at] ?? '', { backToSource })
  if (way === 'bytes') await download?.bytes()
  else if (way === 'file') await download?.toFile(join(folder, `${at}`))
  else await download?.done
}

/** When the heap counts as at rest. At least half a second, and a quarter of a minute at most. */
const atRest = { readings: 10, spread: 64 * 1024, readingsMax: 300 } as const
/** Milliseconds between two readings. */
const pauseMs = 50

/**
 * What is not used any more is given back. Memory that was let go of is noticed by the collector, told to finalizers some turns later, and then each task in it is taken
 * back at the scheduler by a call of its own, several hundred at once. Until those have ended the heap goes up and down by 10 MiB, with standstills in between.
 */
async function settle(): Promise<void> {
  const heap = (): number => {
    globalThis.gc?.()
    return process.memoryUsage().heapUsed
  }
  await calm(heap, () => setTimeout(pauseMs), atRest)
}

function timed(work: () => unknown): number {
  const begun = performance.now()
  work()
  return performance.now() - begun
}

process.on('message', (order: Order) => {
  // A failure ends the process, and so the benchmark.
  void act(order)
})

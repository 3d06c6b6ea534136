/** Peers of a fan-out in a process of their own. They keep everything in memory. */
import { Peer, type PeerOptions } from '../src/index.ts'

/** What the benchmark tells this process. */
export type Order =
  | { readonly is: 'start'; readonly options: readonly PeerOptions[] }
  /** Each peer downloads at its time, in milliseconds of `Date.now()`. */
  | { readonly is: 'download'; readonly url: string; readonly atMs: readonly number[] }

/** What it answers. */
export type Answer =
  | { readonly is: 'started'; readonly scheduler: string }
  /** When each peer had everything. */
  | { readonly is: 'done'; readonly atMs: readonly number[] }
  | { readonly is: 'error'; readonly message: string }

const peers: Peer[] = []

async function act(order: Order): Promise<Answer> {
  if (order.is === 'start') {
    for (const options of order.options) peers.push(await Peer.start(options))
    return { is: 'started', scheduler: peers[0]?.schedulerAddress ?? '' }
  }
  const { url } = order
  const ends = peers.map(async (peer, at) => {
    const waitMs = (order.atMs[at] ?? 0) - Date.now()
    await new Promise((resolve) => setTimeout(resolve, waitMs))
    await peer.download(url).done
    return Date.now()
  })
  return { is: 'done', atMs: await Promise.all(ends) }
}

async function run(order: Order): Promise<void> {
  let answer: Answer
  try {
    answer = await act(order)
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
    answer = { is: 'error', message }
  }
  if (process.connected) process.send?.(answer)
}

process.on('message', (order: Order) => {
  void run(order)
})
// The benchmark is over, or gone.
process.once('disconnect', () => process.exit())

/** Peers in a process of their own that do what a benchmark tells them, over the channel of `fork()`. */
import { Peer, type PeerOptions } from 'dragonfly-peer'
import { Turns } from './turns.ts'

/** What a benchmark tells this process. Peers have names, so that a process can have several. */
export type Order =
  | { readonly is: 'start'; readonly peer: string; readonly options: PeerOptions }
  | {
      readonly is: 'download'
      readonly peer: string
      readonly target: string | { readonly task: string }
      /** Without one: into memory. */
      readonly path?: string
      readonly backToSource?: 'allow' | 'never'
      /** Tells with `{ is: 'begun' }` when the first piece is kept. */
      readonly tellBegin?: boolean
    }
  | { readonly is: 'seed'; readonly peer: string; readonly url: string; readonly path: string }
  | { readonly is: 'write'; readonly peer: string; readonly path: string }
  /** `fetch()` of everything into memory; needs no peer. */
  | { readonly is: 'fetch'; readonly url: string }
  /** All peers of this process download into their stores at once. */
  | { readonly is: 'keep together'; readonly target: string }
  /** Memory that nobody has any more is given back now, so that what comes next does not lie on top of it. */
  | { readonly is: 'collect' }
  /** The turns of the event loop are measured from here on. */
  | { readonly is: 'watch' }
  /** Answers with the longest one since then. */
  | { readonly is: 'watched' }
  | { readonly is: 'close'; readonly peer: string }

/** What it answers to each order. */
export interface Answer {
  readonly is: 'answer'
  /** That the order took. */
  readonly seconds: number
  /** By which others join the peer. */
  readonly scheduler: string
  /** Id of the task of a `seed`, `write` or `download`. */
  readonly task: string
  /** Of `watched`. */
  readonly longestTurnMs: number
}

/** A message on the way. */
export type Told =
  | Answer
  | { readonly is: 'begun' }
  | { readonly is: 'error'; readonly message: string }

const peers = new Map<string, Peer>()
let turns: Turns | undefined

async function act(order: Order): Promise<Partial<Answer>> {
  if (order.is === 'start') {
    const peer = await Peer.start(order.options)
    peers.set(order.peer, peer)
    return { scheduler: peer.schedulerAddress }
  }
  if (order.is === 'fetch') {
    await (await fetch(order.url)).arrayBuffer()
    return {}
  }
  if (order.is === 'keep together') {
    await Promise.all([...peers.values()].map(async (peer) => peer.download(order.target).done))
    return {}
  }
  if (order.is === 'collect') {
    collect()
    return {}
  }
  if (order.is === 'watch') {
    turns = new Turns()
    return {}
  }
  if (order.is === 'watched') {
    const longestTurnMs = turns?.end() ?? 0
    turns = undefined
    return { longestTurnMs }
  }
  return actOn(order, named(order.peer))
}

async function actOn(
  order: Extract<Order, { readonly peer: string }>,
  peer: Peer,
): Promise<Partial<Answer>> {
  if (order.is === 'seed') {
    return { task: (await peer.seed(order.path, { url: order.url })).task.id }
  }
  if (order.is === 'write') return { task: (await peer.write(order.path, { replicas: 1 })).id }
  if (order.is === 'download') {
    let begun = order.tellBegin !== true
    const download = peer.download(order.target, {
      backToSource: order.backToSource ?? 'allow',
      onProgress: () => {
        if (!begun) tell({ is: 'begun' })
        begun = true
      },
    })
    if (order.path === undefined) await download.bytes()
    else await download.toFile(order.path)
    return { task: (await download.done).id }
  }
  await peer.close()
  peers.delete(order.peer)
  // Buffers of a peer that is gone are not memory of the next one.
  collect()
  return {}
}

function collect(): void {
  const { gc } = globalThis as { readonly gc?: () => void }
  // Finalizers of the first run free what only the second one collects.
  gc?.()
  gc?.()
}

function named(name: string): Peer {
  const peer = peers.get(name)
  if (peer === undefined) throw new Error(`There is no peer ${name}`)
  return peer
}

function tell(told: Told): void {
  if (process.connected) process.send?.(told)
}

async function run(order: Order): Promise<void> {
  const begun = performance.now()
  try {
    const part = await act(order)
    const seconds = (performance.now() - begun) / 1000
    const nothing = { scheduler: '', task: '', longestTurnMs: 0 }
    tell({ is: 'answer', ...nothing, seconds, ...part })
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
    tell({ is: 'error', message })
  }
}

process.on('message', (order: Order) => {
  void run(order)
})
// The benchmark is over, or gone: what it measured is measured.
process.once('disconnect', () => process.exit())

/** A process with one peer. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { subscribe } from 'node:diagnostics_channel'
import {
  type DownloadOptions,
  type HookMessages,
  type HookName,
  Peer,
  type PeerOptions,
  rdma,
  type RdmaOptions,
  type TaskInfo,
  tcp,
} from '../../../../src/index.ts'
import { serve } from './far.ts'
import { nativeRdma } from './native-rdma.ts'

/** What the process can be told. */
export interface PeerCommands {
  start: {
    readonly ask: { readonly options: PeerOptions; readonly rdma: RdmaOptions }
    readonly answer: string
  }
  /** Downloads into memory. `allocated`: memory of `allocate()` for content of this length, in place of what `bytes()` takes. */
  download: {
    readonly ask: {
      readonly url: string
      readonly options?: Pick<DownloadOptions, 'backToSource' | 'concurrency'>
      readonly allocated?: number
    }
    readonly answer: { readonly sha256: string; readonly info: TaskInfo; readonly tookMs: number }
  }
  /** Resolves when so many bytes came from other peers. */
  until: { readonly ask: number; readonly answer: undefined }
  /** Does nothing else for so long, and answers at once. */
  block: { readonly ask: number; readonly answer: undefined }
  facts: { readonly ask: undefined; readonly answer: Facts }
  explain: { readonly ask: undefined; readonly answer: unknown }
  close: { readonly ask: undefined; readonly answer: undefined }
}

/** What a peer did and heard. Times are those of `Date.now()`. */
export interface Facts {
  /** Bytes sent, by transport. */
  readonly served: Readonly<Record<string, number>>
  readonly fallbacks: readonly HookMessages['dragonfly-peer:transport:fallback'][]
  readonly changes: readonly HookMessages['dragonfly-peer:transport:changed'][]
  readonly failed: readonly { readonly at: number; readonly parent: string }[]
  readonly kept: readonly {
    readonly at: number
    readonly length: number
    readonly parent: string
    readonly transport: string
  }[]
  /** When the process was blocked. */
  readonly blocked: readonly { readonly from: number; readonly to: number }[]
  /** Registrations, and bytes read over RDMA, since the process began. */
  readonly registrations: number
  readonly bytesRead: number
}

const served: Record<string, number> = {}
const fallbacks: Facts['fallbacks'][number][] = []
const changes: Facts['changes'][number][] = []
const failed: Facts['failed'][number][] = []
const kept: Facts['kept'][number][] = []
const blocked: Facts['blocked'][number][] = []
/** What was downloaded stays in use: a peer keeps content only as long as its application does. */
const inUse: Uint8Array[] = []
const waiting = new Set<{ readonly bytes: number; readonly resolve: () => void }>()
let started: Peer | undefined

on('dragonfly-peer:piece:served', ({ transport, length }) => {
  served[transport] = (served[transport] ?? 0) + length
})
on('dragonfly-peer:transport:fallback', (message) => void fallbacks.push(message))
on('dragonfly-peer:transport:changed', (message) => void changes.push(message))
on('dragonfly-peer:piece:failed', ({ parent }) => void failed.push({ at: Date.now(), parent }))
on('dragonfly-peer:piece:kept', ({ length, parent, traffic, transport = '' }) => {
  if (traffic === 'peer') kept.push({ at: Date.now(), length, parent, transport })
  for (const each of waiting) {
    if (keptBytes() < each.bytes) continue
    waiting.delete(each)
    each.resolve()
  }
})

function on<N extends HookName>(name: N, heard: (message: HookMessages[N]) => void): void {
  subscribe(name, (message) => heard(message as HookMessages[N]))
}

function keptBytes(): number {
  return kept.reduce((sum, { length }) => sum + length, 0)
}

function peer(): Peer {
  assert.ok(started !== undefined, 'Not started')
  return started
}

serve<PeerCommands>({
  async start({ options, rdma: rdmaOptions }) {
    started = await Peer.start({ ...options, transports: [rdma(rdmaOptions), tcp()] })
    return started.schedulerAddress
  },
  async download({ url, options = {}, allocated }) {
    const begin = performance.now()
    const into = allocated === undefined ? undefined : await peer().allocate(allocated)
    const download = peer().download(url, into === undefined ? options : { ...options, into })
    const info = into === undefined ? undefined : await download.done
    const bytes = into ?? (await download.bytes())
    inUse.push(bytes)
    const tookMs = performance.now() - begin
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    return { sha256, info: info ?? (await download.done), tookMs }
  },
  until: (bytes) =>
    new Promise((resolve) => {
      if (keptBytes() >= bytes) resolve(undefined)
      else waiting.add({ bytes, resolve: () => resolve(undefined) })
    }),
  block(ms) {
    // The answer goes first.
    setImmediate(() => {
      const from = Date.now()
      while (Date.now() < from + ms);
      blocked.push({ from, to: Date.now() })
    })
    return undefined
  },
  facts: () => {
    const { registrations, bytesRead } = nativeRdma().stats()
    return { served, fallbacks, changes, failed, kept, blocked, registrations, bytesRead }
  },
  explain: () => JSON.parse(JSON.stringify(peer().explain())),
  async close() {
    await peer().close()
    return undefined
  },
})

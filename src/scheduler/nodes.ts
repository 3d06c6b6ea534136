import { type CallOptions, type Client, type ConnectError, createClient } from '@connectrpc/connect'

import { ringOrder, ringPoint } from '../hash/ring.ts'
import { publish } from '../hooks.ts'
import { type Channel, localAddress } from '../rpc/channel.ts'
import { Scheduler } from '../rpc/gen/scheduler/v2/scheduler_pb.ts'
import type { Clock } from '../util/clock.ts'
import { Vigil } from './vigil.ts'

/** For this long after a failure a scheduler is asked last, in milliseconds: others wait for nothing meanwhile. */
export const downMs = 10_000

/** What is known about one scheduler. */
export type NodeState =
  | { readonly is: 'unknown' }
  | { readonly is: 'up' }
  | { readonly is: 'down'; readonly sinceMs: number; readonly reason: string }

/** One scheduler: its channel, and whether it answers. */
export class SchedulerNode {
  readonly address: string
  readonly client: Client<typeof Scheduler>
  readonly #channel: Channel
  readonly #events: NodeEvents
  readonly #vigil: Vigil
  #state: NodeState = { is: 'unknown' }
  #holds = 0
  #retired = false

  constructor(channel: Channel, address: string, events: NodeEvents, vigil: Vigil) {
    this.address = address
    this.client = createClient(Scheduler, channel)
    this.#channel = channel
    this.#events = events
    this.#vigil = vigil
    channel.onLost?.(() => {
      if (!this.#retired) events.onBroken?.(this)
    })
  }

  /** Runs in this process: it cannot hang, and headers come with its first answer. */
  get isLocal(): boolean {
    return this.#channel.address === localAddress
  }

  /** What is known about it. */
  get state(): NodeState {
    return this.#state
  }

  /** Whether it failed a short while ago. */
  get isDown(): boolean {
    const state = this.#state
    return state.is === 'down' && this.#events.clock.now() - state.sinceMs < downMs
  }

  /** It owes an answer; see `Vigil.begin()`. */
  expect(onSilent: (error: ConnectError) => void): () => void {
    return this.#vigil.begin(this.#channel, onSilent)
  }

  /** Makes a unary call. Rejects with what it fails with: with `Unavailable` when the scheduler gives no sign of life meanwhile. */
  async call<T>(call: Call<T>, signal: AbortSignal, timeoutMs: number): Promise<T> {
    const ask = (during: AbortSignal): Promise<T> =>
      call(this.client, { signal: during, timeoutMs })
    return await this.#vigil.call(this.#channel, ask, signal)
  }

  /** any → up: it answered. */
  up(): void {
    if (this.#state.is === 'up') return
    this.#state = { is: 'up' }
    publish('dragonfly-peer:scheduler:found', () => ({ address: this.address }))
    this.#events.onFound(this)
  }

  /** any → down: it cannot be reached. */
  down(reason: string): void {
    const wasDown = this.#state.is === 'down'
    this.#state = { is: 'down', sinceMs: this.#events.clock.now(), reason }
    if (wasDown) return
    publish('dragonfly-peer:scheduler:lost', () => ({ address: this.address, reason }))
    this.#events.onLost?.(this)
  }

  /** Keeps the channel open until the returned function is called, also when the address is no longer in the list. */
  hold(): () => void {
    let held = true
    this.#holds++
    return () => {
      if (!held) return
      held = false
      this.#holds--
      this.#closeIfIdle()
    }
  }

  /** No new work; the channel closes when nobody holds it. */
  retire(): void {
    this.#retired = true
    this.#closeIfIdle()
  }

  /** Ends everything now. */
  close(): void {
    this.#retired = true
    this.#channel.close()
  }

  #closeIfIdle(): void {
    if (this.#retired && this.#holds === 0) this.#channel.close()
  }
}

/** One unary call, to whichever scheduler. */
export type Call<T> = (client: Client<typeof Scheduler>, options: CallOptions) => Promise<T>

/** What nodes need, and whom they tell. */
export interface NodeEvents {
  readonly clock: Clock
  /** It answers for the first time, or again. */
  readonly onFound: (node: SchedulerNode) => void
  /** It answers no more. */
  readonly onLost?: (node: SchedulerNode) => void
  /** The connection to it broke: it may come back without its memory, before anybody notices that it was away. */
  readonly onBroken?: (node: SchedulerNode) => void
}

/** The schedulers of this peer, and in which order to ask them for a task. */
export class SchedulerNodes {
  readonly #open: (address: string) => Channel
  readonly #events: NodeEvents
  readonly #vigil: Vigil
  #nodes = new Map<string, SchedulerNode>()

  constructor(open: (address: string) => Channel, events: NodeEvents) {
    this.#open = open
    this.#events = events
    this.#vigil = new Vigil(events.clock)
  }

  /** All of them. */
  get all(): readonly SchedulerNode[] {
    return [...this.#nodes.values()]
  }

  /** Where they are. */
  get addresses(): readonly string[] {
    return [...this.#nodes.keys()]
  }

  /**
   * Takes a new list. Those that stay keep their channel; those that go finish what they do. Returns those that are new.
   *
   * @throws TypeError when there are several and one is no `ip:port`: no ring can be made of them
   */
  set(addresses: readonly string[]): readonly SchedulerNode[] {
    const wanted = new Set(addresses)
    if (wanted.size > 1) for (const address of wanted) ringPoint(address)
    const next = new Map<string, SchedulerNode>()
    const added: SchedulerNode[] = []
    for (const address of wanted) {
      let node = this.#nodes.get(address)
      if (node === undefined) {
        node = new SchedulerNode(this.#open(address), address, this.#events, this.#vigil)
        added.push(node)
      }
      next.set(address, node)
    }
    const gone = this.all.filter((node) => !wanted.has(node.address))
    this.#nodes = next
    for (const node of gone) node.retire()
    return added
  }

  /** In which order to ask for this task: along the ring from its owner, those that failed just now last. All peers agree on it. */
  order(taskId: string): readonly SchedulerNode[] {
    const known = this.#nodes
    // The ring takes no shorter id. Such a task can only be asked for, it cannot exist.
    const ring = known.size > 1 && Buffer.byteLength(taskId) >= 5
    const addresses = ring ? ringOrder(this.addresses, taskId) : this.addresses
    const nodes = addresses.flatMap((address) => known.get(address) ?? [])
    return [...nodes.filter((node) => !node.isDown), ...nodes.filter((node) => node.isDown)]
  }

  /** Ends everything now. */
  close(): void {
    this.#vigil.close()
    for (const node of this.all) node.close()
    this.#nodes = new Map()
  }
}

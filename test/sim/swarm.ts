import { type Geometry, geometry, pieceAt } from '../../src/task/piece.ts'
import type {
  Answer,
  Feed,
  Have,
  Parent,
  ParentAddress,
  PieceReader,
  PieceRequest,
  Received,
  Slot,
} from '../../src/task/ports.ts'
import { Run } from '../../src/task/run.ts'
import type { RunOptions } from '../../src/task/run-options.ts'
import { never, seeded, VirtualClock } from './clock.ts'
import { contentOf, digestOf, spec } from './content.ts'
import { SimAnnouncer } from './scheduler.ts'
import { SimSink } from './sink.ts'

/** A swarm in the round model: every uplink carries one piece in `roundMs`, downlinks have no limit. */
export interface SwarmOptions {
  /** Peers that start together with nothing, beside one seed that has everything. */
  readonly peers: number
  readonly pieces: number
  /** Parents that the scheduler names to each peer. */
  readonly parents: number
  readonly seed: number
  readonly run?: RunOptions
  /** `loaded`: the least loaded peers before this one. `random`: any before this one. */
  readonly choice?: 'loaded' | 'random'
  /** Whether an uplink sends one piece after the other, the one first that it sent least often, or all that are asked at once, each at its part of the speed. */
  readonly uplink?: 'turns' | 'equal'
  /** Time in which an uplink carries one piece. @defaultValue 100 */
  readonly roundMs?: number
  /** Whether the scheduler can say who a child is. */
  readonly meets?: boolean
}

/** What came of a swarm. */
export interface SwarmResult {
  /** When the last peer had everything, in rounds. */
  readonly rounds: number
  /** The same against pieces + ⌊log₂ peers⌋, which nobody can beat. */
  readonly ratio: number
  /** Pieces that the seed sent, against the number of pieces. */
  readonly seedLoad: number
}

/** A piece has this many bytes, and each of them is seen to arrive. */
const pieceBytes = 8

/** Runs a swarm to its end. */
export async function runSwarm(options: SwarmOptions): Promise<SwarmResult> {
  const roundMs = options.roundMs ?? 100
  const clock = new VirtualClock()
  const cut = geometry(options.pieces * pieceBytes, pieceBytes)
  const random = seeded(options.seed)
  const net = new Network(clock, cut, options.uplink ?? 'turns', roundMs)
  const all = Array.from({ length: options.pieces }, (_, number) => number)
  net.add('seed', new SimSink(cut).preset(all))
  const children = new Map([['seed', 0]])
  const runs: Run[] = []
  net.onChild = (id, child) => runs[Number(id.slice(1))]?.meet(child)
  for (let at = 0; at < options.peers; at++) {
    const id = `p${at}`
    const parents = choose(children, options, random)
    for (const parent of parents) children.set(parent, (children.get(parent) ?? 0) + 1)
    children.set(id, 0)
    const sink = net.add(id, new SimSink(cut))
    const answer: Answer = { is: 'parents', parents: parents.map(parentOf) }
    const ports = { feed: net, reader: net, clock, random, newPeerId: () => id }
    runs.push(
      new Run(
        spec,
        sink,
        { backToSource: 'never', version: 'one', ...options.run },
        {
          announcer: new SimAnnouncer(
            [answer],
            () => undefined,
            options.meets === true ? parentOf : undefined,
          ),
          ...ports,
        },
      ),
    )
  }
  const shares = runs.map((run) => run.join())
  await clock.until(() => runs.every((run) => !run.open))
  await Promise.all(shares.map((share) => share.done))
  const rounds = clock.now() / roundMs
  const bound = options.pieces + Math.floor(Math.log2(options.peers))
  return { rounds, ratio: rounds / bound, seedLoad: net.sent('seed') / options.pieces }
}

function choose(
  children: ReadonlyMap<string, number>,
  options: SwarmOptions,
  random: () => number,
): string[] {
  const ranked = Array.from(children, ([id, load]) => ({
    id,
    rank: (options.choice === 'random' ? 0 : load) + random(),
  }))
  ranked.sort((one, other) => one.rank - other.rank)
  return ranked.slice(0, options.parents).map(({ id }) => id)
}

function parentOf(id: string): Parent {
  return { id, hostId: id, ip: '127.0.0.1', port: 4000, seed: id === 'seed' }
}

/** One piece on its way: how much of it is sent, and how much of that has been seen. */
interface Transfer {
  readonly slot: Slot
  readonly done: () => void
  sentBytes: number
  begun: boolean
}

/** An uplink that carries `pieceBytes` in `roundMs`, whoever shares it. */
class Uplink {
  readonly sink: SimSink
  readonly #clock: VirtualClock
  readonly #atOnce: number
  readonly #roundMs: number
  readonly #queue: Transfer[] = []
  readonly #counts = new Map<number, number>()
  #since = 0
  #cancel = (): void => undefined
  sent = 0

  constructor(sink: SimSink, clock: VirtualClock, kind: 'turns' | 'equal', roundMs: number) {
    this.sink = sink
    this.#clock = clock
    this.#roundMs = roundMs
    this.#atOnce = kind === 'turns' ? 1 : Number.POSITIVE_INFINITY
  }

  /** Resolves when all bytes are in the slot. */
  async send(slot: Slot, signal: AbortSignal): Promise<void> {
    this.#move()
    let done = (): void => undefined
    const sent = new Promise<void>((resolve) => {
      done = resolve
    })
    const transfer: Transfer = { slot, done, sentBytes: 0, begun: false }
    this.#queue.push(transfer)
    this.#arm()
    try {
      await Promise.race([sent, never(signal)])
      this.sent++
    } catch (error) {
      this.#move()
      this.#queue.splice(this.#queue.indexOf(transfer), 1)
      this.#arm()
      throw error
    }
  }

  get #active(): Transfer[] {
    return this.#queue.slice(0, this.#atOnce)
  }

  /** As `src/transport/turns.ts`: the piece that was sent least often is next, of equals the first that was asked for. */
  #turn(): void {
    const [first] = this.#queue
    if (this.#atOnce > 1 || first === undefined || first.begun) return
    const count = ({ slot }: Transfer): number => this.#counts.get(slot.piece.number) ?? 0
    const next = this.#queue.reduce((best, one) => (count(one) < count(best) ? one : best))
    next.begun = true
    this.#counts.set(next.slot.piece.number, count(next) + 1)
    this.#queue.splice(this.#queue.indexOf(next), 1)
    this.#queue.unshift(next)
  }

  /** Brings all transfers up to this moment. */
  #move(): void {
    const passedMs = this.#clock.now() - this.#since
    this.#since = this.#clock.now()
    const active = this.#active
    const bytes = (passedMs / this.#roundMs / active.length) * pieceBytes
    for (const transfer of active) {
      transfer.sentBytes += bytes
      const { slot } = transfer
      const arrived = Math.min(Math.floor(transfer.sentBytes + 1e-6), pieceBytes) - slot.filled
      if (arrived <= 0) continue
      slot.space()?.set(contentOf(slot.piece.offset + slot.filled, arrived))
      slot.fill(arrived)
      if (slot.filled < pieceBytes) continue
      this.#queue.splice(this.#queue.indexOf(transfer), 1)
      transfer.done()
    }
  }

  #arm(): void {
    this.#cancel()
    this.#turn()
    const active = this.#active
    if (active.length === 0) return
    const next = Math.min(...active.map(({ slot, sentBytes }) => slot.filled + 1 - sentBytes))
    const waitMs = (Math.max(next, 1e-6) / pieceBytes) * this.#roundMs * active.length
    this.#cancel = this.#clock.after(waitMs, () => {
      this.#move()
      this.#arm()
    })
  }
}

/** Feeds without delay, and uplinks. */
class Network implements Feed, PieceReader {
  readonly #clock: VirtualClock
  readonly #cut: Geometry
  readonly #kind: 'turns' | 'equal'
  readonly #roundMs: number
  readonly #uplinks = new Map<string, Uplink>()
  /** A peer is asked for pieces by this child. */
  onChild: (id: string, child: string) => void = () => undefined

  constructor(clock: VirtualClock, cut: Geometry, kind: 'turns' | 'equal', roundMs: number) {
    this.#clock = clock
    this.#roundMs = roundMs
    this.#cut = cut
    this.#kind = kind
  }

  add(id: string, sink: SimSink): SimSink {
    this.#uplinks.set(id, new Uplink(sink, this.#clock, this.#kind, this.#roundMs))
    return sink
  }

  sent(id: string): number {
    return this.#uplink(id).sent
  }

  async watch(
    { id }: Parent,
    request: { readonly numbers: readonly number[]; readonly peerId?: string },
    onHave: (have: Have) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { sink } = this.#uplink(id)
    if (request.peerId !== undefined) this.onChild(id, request.peerId)
    const missing = new Set(request.numbers)
    let done = (): void => undefined
    const told = new Promise<void>((resolve) => {
      done = resolve
    })
    const tell = (number: number): void => {
      if (!missing.delete(number)) return
      const { offset, length } = pieceAt(this.#cut, number)
      const endpoint = { ip: '127.0.0.1', tcpPort: 4001 }
      onHave({ number, offset, length, endpoint, version: 'one' })
      if (missing.size === 0) done()
    }
    const unwatch = sink.onKept(tell)
    try {
      for (const number of request.numbers) if (sink.has(number)) tell(number)
      await Promise.race([told, never(signal)])
    } finally {
      unwatch()
    }
  }

  async read(
    { parent }: ParentAddress,
    { piece }: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    await this.#uplink(parent.id).send(slot, signal)
    return { digest: digestOf(this.#cut, piece.number) }
  }

  #uplink(id: string): Uplink {
    const uplink = this.#uplinks.get(id)
    if (uplink === undefined) throw new Error(`No peer ${id}`)
    return uplink
  }
}

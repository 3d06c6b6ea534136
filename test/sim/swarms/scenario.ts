import type { Range } from '../../../src/task/piece.ts'
import { Dice } from './dice.ts'

/*
 * A scenario is data: everything that a swarm is made of and everything that happens to it, made from a number. The same number makes the same swarm.
 */

/** One peer. */
export interface PeerPlan {
  /** `p0`, `p1`, …; also the id of its host. */
  readonly name: string
  /** Fetches from the origin when the scheduler asks it to. */
  readonly seed: boolean
  /** When its application asks for the content. */
  readonly startMs: number
  /** Asks for this part only. */
  readonly range: Range | undefined
  readonly backToSource: 'allow' | 'never'
  readonly concurrency: number
  /** Bytes per millisecond of its uplink. */
  readonly uplink: number
  /** Pieces that it sends at the same time. */
  readonly uploads: number
  /** What it keeps outlives its process. */
  readonly durable: boolean
  /** Milliseconds that its disk takes to keep a piece. */
  readonly diskMs: number
  /** Bytes that a slot takes before it has to be drained; 0 for all. */
  readonly drainEvery: number
  /** Pause of its application before it asks again for what failed. */
  readonly retryMs: number
}

/** How a peer treats those who ask it. */
export interface Manners {
  /** `silent` never sends, `stuck` stops in the middle, `wrong` sends other bytes than it promises. */
  readonly reads: 'well' | 'slow' | 'silent' | 'stuck' | 'wrong' | 'short' | 'refused'
  /** `lies`: names pieces that it does not have. `muddled`: names pieces that do not exist. */
  readonly feed: 'well' | 'mute' | 'lies' | 'muddled' | 'refused'
}

/** What an origin can have. `short`, `long`: fewer or more bytes than it should send. */
export type OriginFault = 'down' | 'errors' | 'reset' | 'stall' | 'slow' | 'short' | 'long'

/** What a disk can have. */
export type DiskFault = 'full' | 'failed' | 'slow'

/** Something that happens. `forMs`: when it is over again. */
export type Event = {
  readonly atMs: number
} /** The process dies. Without `downMs` it never comes back. */ & (
  | { readonly is: 'kill'; readonly peer: string; readonly downMs: number | undefined }
  /** The process ends in order, and never comes back. */
  | { readonly is: 'leave'; readonly peer: string }
  /** Nothing passes between these and those. */
  | {
      readonly is: 'part'
      readonly some: readonly string[]
      readonly others: readonly string[] | 'rest'
      readonly forMs: number
    }
  | {
      readonly is: 'manners'
      readonly peer: string
      readonly manners: Manners
      readonly forMs: number
    }
  /** The scheduler dies and comes back without memory, at once when `downMs` is 0. */
  | { readonly is: 'scheduler'; readonly name: string; readonly downMs: number }
  | { readonly is: 'origin'; readonly fault: OriginFault; readonly forMs: number }
  /** The origin has other content from now on. */
  | { readonly is: 'change'; readonly contentLength: number }
  | {
      readonly is: 'disk'
      readonly peer: string
      readonly fault: DiskFault
      readonly forMs: number
    }
  /** The application gives its download up, and asks anew after a while. */
  | { readonly is: 'cancel'; readonly peer: string }
)

/** A swarm and its fate. */
export interface Scenario {
  readonly seed: number
  /** Nothing goes wrong. */
  readonly calm: boolean
  readonly contentLength: number
  readonly pieceLength: number
  readonly peers: readonly PeerPlan[]
  readonly schedulers: readonly string[]
  readonly network: {
    /** Way between two nodes, shortest and longest. */
    readonly latencyMs: readonly [number, number]
    /** Share of messages that are lost once and sent again. */
    readonly lossRate: number
    /** Share of pieces that arrive damaged. */
    readonly damageRate: number
    /** Parts in which a piece is sent. */
    readonly parts: number
  }
  readonly origin: {
    readonly ranges: boolean
    /** Says which version its content has. */
    readonly versions: boolean
    readonly chunkBytes: number
    readonly chunkMs: number
  }
  readonly events: readonly Event[]
}

/** Makes the scenario of a seed. */
export function scenarioOf(seed: number): Scenario {
  const dice = new Dice(seed)
  const calm = dice.chance(0.12)
  const large = dice.chance(0.012)
  const count = large ? dice.whole(32, 64) : dice.chance(0.2) ? dice.whole(7, 14) : dice.whole(1, 6)
  const pieceLength = dice.whole(16, 64)
  const pieceCount = dice.chance(0.1) ? dice.whole(1, 2) : dice.whole(3, large ? 16 : 12)
  const contentLength = pieceCount * pieceLength - dice.whole(0, pieceLength - 1)
  const together = dice.chance(0.5)
  const world = { dice, calm, contentLength, pieceLength, together }
  const peers = Array.from({ length: count }, (_, at) => peerPlan(world, at))
  const schedulers = dice.chance(0.15) ? ['s0', 's1'] : ['s0']
  const bad = !calm && dice.chance(0.3)
  const versions = dice.chance(0.8)
  const names = { peers: peers.map(({ name }) => name), schedulers, versions, contentLength }
  return {
    seed,
    calm,
    contentLength,
    pieceLength,
    peers,
    schedulers,
    network: {
      latencyMs: dice.chance(0.2) ? [20, 120] : [1, 20],
      lossRate: bad ? dice.pick([0.01, 0.05, 0.2]) : 0,
      damageRate: bad && dice.chance(0.3) ? 0.02 : 0,
      parts: dice.whole(1, 3),
    },
    origin: {
      ranges: dice.chance(0.75),
      versions,
      chunkBytes: dice.whole(8, 2 * pieceLength),
      chunkMs: dice.pick([1, 10, 40, 200]),
    },
    events: calm ? [] : events(dice, names),
  }
}

interface Draft {
  readonly dice: Dice
  readonly calm: boolean
  readonly contentLength: number
  readonly together: boolean
}

/** The first peer wants everything, may use the origin, and always comes back: the content is within reach of everybody in the end. */
function peerPlan({ dice, calm, contentLength, together }: Draft, at: number): PeerPlan {
  const first = at === 0
  const part = !first && dice.chance(0.1)
  const start = part ? dice.whole(0, contentLength - 1) : 0
  return {
    name: `p${at}`,
    seed: dice.chance(0.15),
    startMs: together ? dice.whole(0, 50) : dice.whole(0, 20_000),
    range: part ? { start, length: dice.whole(1, contentLength - start) } : undefined,
    backToSource: !first && dice.chance(calm ? 0.1 : 0.2) ? 'never' : 'allow',
    concurrency: dice.pick([1, 2, 4, 8]),
    uplink: dice.pick([0.1, 0.5, 2, 10]),
    uploads: dice.pick([1, 2, 8]),
    durable: dice.chance(0.6),
    diskMs: dice.pick([0, 0, 1, 20]),
    drainEvery: dice.chance(0.3) ? dice.whole(4, 20) : 0,
    retryMs: dice.pick([500, 2000, 10_000]),
  }
}

interface Names {
  readonly peers: readonly string[]
  readonly schedulers: readonly string[]
  readonly versions: boolean
  readonly contentLength: number
}

/** Time in which things go wrong. */
const stormMs = 60_000

function events(dice: Dice, names: Names): Event[] {
  // Few kinds of faults in one swarm, so that each is seen alone and with few others.
  const kinds = dice.some(makers, dice.whole(1, 4))
  const count = dice.whole(1, 3 + Math.min(names.peers.length, 12))
  const list = Array.from({ length: count }, () => dice.pick(kinds)(dice, names))
  const changes = list.some(({ is }) => is === 'change')
  const told = changes ? list.map(detectable) : list
  return told.toSorted((one, other) => one.atMs - other.atMs)
}

/**
 * Where content changes a parent tells the version of what it has. Who hides that, and gives right digests of other content, is found out by nobody but the digest of
 * the whole.
 */
function detectable(event: Event): Event {
  if (event.is !== 'manners' || event.manners.feed !== 'lies') return event
  return { ...event, manners: { ...event.manners, feed: 'muddled' } }
}

type Maker = (dice: Dice, names: Names) => Event

const at = (dice: Dice): number => dice.whole(0, dice.chance(0.5) ? stormMs / 10 : stormMs)
const forMs = (dice: Dice): number => dice.pick([300, 2000, 10_000, 40_000, 100_000])

const makers: readonly Maker[] = [
  (dice, { peers }) => {
    const peer = dice.pick(peers)
    const gone = peer !== peers[0] && dice.chance(0.4)
    return { is: 'kill', atMs: at(dice), peer, downMs: gone ? undefined : dice.whole(0, 30_000) }
  },
  (dice, { peers }) => {
    const peer = dice.pick(peers)
    if (peer === peers[0]) return { is: 'cancel', atMs: at(dice), peer }
    return { is: dice.chance(0.5) ? 'leave' : 'cancel', atMs: at(dice), peer }
  },
  (dice, { peers, schedulers }) => {
    const base = { is: 'part', atMs: at(dice), forMs: forMs(dice) } as const
    const some = dice.some(peers, dice.whole(1, Math.max(1, peers.length >> 1)))
    const others = dice.pick([
      'rest',
      schedulers,
      ['origin'],
      [dice.pick(schedulers), 'origin'],
      dice.some(peers, dice.whole(1, peers.length)),
    ] as const)
    return { ...base, some, others: others === 'rest' ? others : [...others] }
  },
  (dice, { peers }) => {
    const reads = dice.pick([
      'well',
      'slow',
      'silent',
      'stuck',
      'wrong',
      'short',
      'refused',
    ] as const)
    const feed = dice.pick(['well', 'well', 'mute', 'lies', 'muddled', 'refused'] as const)
    const manners = { reads, feed }
    return { is: 'manners', atMs: at(dice), peer: dice.pick(peers), manners, forMs: forMs(dice) }
  },
  (dice, { schedulers }) => {
    const downMs = dice.pick([0, 500, 5000, 30_000, 90_000])
    return { is: 'scheduler', atMs: at(dice), name: dice.pick(schedulers), downMs }
  },
  (dice) => {
    const faults = ['down', 'errors', 'reset', 'stall', 'slow', 'short', 'long'] as const
    return { is: 'origin', atMs: at(dice), fault: dice.pick(faults), forMs: forMs(dice) }
  },
  (dice, { versions, contentLength, peers }) => {
    if (!versions) return { is: 'cancel', atMs: at(dice), peer: dice.pick(peers) }
    const other = dice.whole(1, 2 * contentLength)
    return { is: 'change', atMs: at(dice), contentLength: dice.chance(0.5) ? contentLength : other }
  },
  (dice, { peers }) => {
    const fault = dice.pick(['full', 'failed', 'slow'] as const)
    return { is: 'disk', atMs: at(dice), peer: dice.pick(peers), fault, forMs: forMs(dice) }
  },
]

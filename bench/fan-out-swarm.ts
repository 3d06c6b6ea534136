import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { PeerOptions } from '../src/index.ts'
import { Origin } from '../test/support/origin.ts'
import type { Answer, Order } from './fan-out-peer.ts'
import { Meter } from './meter.ts'
import { median } from './statistics.ts'

/** Bytes of a piece: the shortest that the protocol has. */
export const pieceBytes: number = 4 * 1024 * 1024
/** Processes beside the seed's, at most. */
const processesMax = 8
/** Milliseconds between the order to download and the first download. */
const leadMs = 500
/** Bytes of the content that everybody downloads first: what is measured is peers that have run before. */
const warmBytes = pieceBytes

/** How many get what, how, at which speed. */
export interface FanOutOptions {
  readonly peers: number
  readonly pieces: number
  /** Of each uplink. */
  readonly bytesPerSecond: number
  /** Rounds from the first start to the last; 0: together. */
  readonly spreadRounds: number
  /** `upstream`: a random piece of a random parent, and all uploads at once. */
  readonly rule: 'ours' | 'upstream'
  /** Of the scheduler. @defaultValue the seed's own, embedded one */
  readonly scheduler?: string
}

/** What came of it. */
export interface FanOutResult {
  /** When the last had everything, after the first began. */
  readonly rounds: number
  /** When the middle one had. */
  readonly middle: number
  /** Against what nobody can beat. */
  readonly ratio: number
  /** What the origin gave, against the content. */
  readonly origin: number
  /** Share of all processors that the peers used: near 1 it is the machine that is measured, not the choice of parents. */
  readonly busy: number
}

/** Rounds in which nobody can be faster: the last piece leaves the seed in round B and needs ⌊log₂N⌋ more. A round is the time of one piece on one uplink. */
export function boundOf({ peers, pieces }: Pick<FanOutOptions, 'peers' | 'pieces'>): number {
  return pieces + Math.floor(Math.log2(peers))
}

/** A seed gets the content from an origin, then all peers want it. Everybody's uplink has the same limit. */
export async function runFanOut(options: FanOutOptions): Promise<FanOutResult> {
  const { peers, pieces, bytesPerSecond, spreadRounds, scheduler } = options
  const length = pieces * pieceBytes
  const roundMs = (pieceBytes / bytesPerSecond) * 1000
  const origin = new Origin({ length, seed: Math.ceil(Math.random() * 1e9) })
  const warm = new Origin({ length: warmBytes })
  const seed = new Group(options.rule)
  const groups: Group[] = []
  try {
    await origin.listen()
    await warm.listen()
    const common: PeerOptions = {
      store: 'memory',
      limits: { uploadBytesPerSecond: bytesPerSecond },
      host: { ip: '127.0.0.1' },
    }
    const joined = scheduler === undefined ? common : { ...common, scheduler }
    const address = await seed.start([joined])
    await seed.download(warm.url, [0])
    await seed.download(origin.url, [0])
    const each = Math.ceil(peers / processesMax)
    for (let first = 0; first < peers; first += each) groups.push(new Group(options.rule))
    await Promise.all(
      groups.map((group, at) => {
        const count = Math.min(each, peers - at * each)
        return group.start(Array.from({ length: count }, () => ({ ...common, scheduler: address })))
      }),
    )
    await Promise.all(groups.map((group) => group.download(warm.url, [])))
    const beginMs = Date.now() + leadMs
    const gapMs = (spreadRounds * roundMs) / Math.max(1, peers - 1)
    // Those who share a process do not start one after another.
    const startMs = Array.from({ length: peers }, (_, at) => beginMs + at * gapMs)
    const meter = new Meter([seed, ...groups].map(({ pid }) => pid))
    const before = meter.cpuSeconds()
    const ends = await Promise.all(
      groups.map((group, at) =>
        group.download(
          origin.url,
          startMs.filter((_, number) => number % groups.length === at),
        ),
      ),
    )
    const used = meter.cpuSeconds() - before
    const tookMs = Math.max(...ends.flat()) - beginMs
    const rounds = tookMs / roundMs
    return {
      rounds,
      middle: (median(ends.flat()) - beginMs) / roundMs,
      ratio: rounds / boundOf(options),
      origin: origin.counts.bytes / length,
      busy: (used * 1000) / (tookMs * availableParallelism()),
    }
  } finally {
    await Promise.all([seed, ...groups].map((group) => group.end()))
    await Promise.all([origin.close(), warm.close()])
  }
}

/** Some peers in one process. */
class Group {
  readonly #child: ChildProcess

  constructor(rule: FanOutOptions['rule']) {
    const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
    const other = new URL('./fan-out-upstream.js', import.meta.url).href
    this.#child = fork(path('./fan-out-peer.js'), {
      execArgv: rule === 'ours' ? [] : ['--import', other],
    })
  }

  /** Of the process. */
  get pid(): number {
    return this.#child.pid ?? -1
  }

  /** Starts peers. Resolves with the address by which others join the first. */
  async start(options: readonly PeerOptions[]): Promise<string> {
    const answer = await this.#ask({ is: 'start', options })
    return answer.is === 'started' ? answer.scheduler : ''
  }

  /** Resolves with when each had everything. */
  async download(url: string, atMs: readonly number[]): Promise<readonly number[]> {
    const answer = await this.#ask({ is: 'download', url, atMs })
    return answer.is === 'done' ? answer.atMs : []
  }

  /** Ends the process at once. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }

  async #ask(order: Order): Promise<Answer> {
    const given = new AbortController()
    const { signal } = given
    const ended = once(this.#child, 'exit', { signal }).then((how) => {
      throw new Error(`A process of peers ended: ${how.join(' ')}`)
    })
    const answered = once(this.#child, 'message', { signal })
    try {
      this.#child.send(order)
      const [answer] = (await Promise.race([answered, ended])) as [Answer]
      if (answer.is === 'error') throw new Error(answer.message)
      return answer
    } finally {
      // The one that lost the race rejects now, and nobody waits for it.
      for (const one of [answered, ended]) one.catch(() => undefined)
      given.abort()
    }
  }
}

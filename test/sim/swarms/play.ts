import { Fate } from './fate.ts'
import type { SimPeer } from './peer.ts'
import type { Scenario } from './scenario.ts'
import { Site, type SiteOptions } from './site.ts'

/** What became of a swarm. */
export interface Played {
  readonly seed: number
  /** What should not have been. */
  readonly faults: readonly string[]
  /** The same for two swarms that went the same way. */
  readonly digest: number
  /** When the last application had its content. */
  readonly endMs: number
  /** The same, from the end of the last trouble on; 0 when it was before. */
  readonly recoveredMs: number
  /** Bytes that the origin sent, against the content. */
  readonly originRatio: number
  /** Downloads that failed as was to be expected, by code. */
  readonly failures: Readonly<Record<string, number>>
  readonly peers: number
  readonly runs: number
  readonly calm: boolean
  /** Most timers at once, for each peer. */
  readonly timersMost: number
}

/** A swarm whose troubles are over is done after this long, in milliseconds. The longest that a run hopes for a parent that only promises is three minutes of it. */
export const recoveryMsMax = 900_000
/** Bounds are looked at each so many events. */
const lookEvery = 32
/** What a peer may have set at once, for each piece that it fetches, each feed, stream and announcement. */
const timersPerPeerMax = 160

/** Plays a scenario to its end. Nothing of it takes real time. Never rejects; a promise that is rejected where nobody listens counts against the swarm. */
export async function play(scenario: Scenario, options: SiteOptions = {}): Promise<Played> {
  const site = new Site(scenario, options)
  const unheard = (error: unknown): void => site.judge.broken(`Nobody listens: ${text(error)}`)
  process.on('unhandledRejection', unheard)
  try {
    return await playOn(site)
  } catch (error) {
    site.judge.broken(`The simulation broke: ${text(error)}`)
    return result(site, 0, 0)
  } finally {
    process.off('unhandledRejection', unheard)
  }
}

async function playOn(site: Site): Promise<Played> {
  const { clock, judge } = site
  const watch = new Watch(site)
  const fate = new Fate(site)
  for (const scheduler of site.schedulers) scheduler.start()
  for (const peer of site.peers) peer.start()
  const done = (): boolean => {
    watch.look()
    return fate.over && site.peers.every((peer) => peer.done || !mustGet(site, peer))
  }
  await clock.until(() => watch.look() || fate.over)
  const calmMs = clock.now()
  if (!(await clock.until(done, calmMs + recoveryMsMax))) {
    for (const peer of site.peers) {
      if (peer.done || !mustGet(site, peer)) continue
      site.trace(JSON.stringify(peer.process?.explain()))
      judge.broken(`${peer.plan.name} has no content ${recoveryMsMax} ms after the last trouble`)
    }
  }
  const endMs = clock.now()
  await end(site)
  checkOrigin(site)
  return result(site, endMs, watch.timersMost)
}

function result(site: Site, endMs: number, timersMost: number): Played {
  const { scenario, judge, weather } = site
  return {
    seed: scenario.seed,
    faults: judge.faults,
    digest: judge.digest,
    endMs,
    recoveredMs: Math.max(0, endMs - weather.calmSince),
    originRatio: site.origin.sent / scenario.contentLength,
    failures: Object.fromEntries(judge.failures),
    peers: site.peers.length,
    runs: site.runs,
    calm: scenario.calm,
    timersMost: timersMost / site.peers.length,
  }
}

function text(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

/**
 * Whether the application of a peer has to get its content in the end: whoever stays, unless the content has become shorter than where its part begins. One that may not ask
 * the origin has to when somebody who stays has what is newest among the peers.
 */
function mustGet({ origin, peers, judge }: Site, { gone, plan }: SimPeer): boolean {
  const start = plan.range?.start ?? 0
  if (gone) return false
  if (plan.backToSource === 'allow' || origin.version.number === 0) {
    return start < origin.version.contentLength
  }
  return peers.some(
    ({ gone: left, task }) =>
      !left && judge.isCurrent(task) && start < (task?.geometry.contentLength ?? 0),
  )
}

/** Everybody leaves; nothing may be left of anybody. */
async function end(site: Site): Promise<void> {
  const { clock, judge, network } = site
  const leaving = Promise.all(site.peers.map((peer) => peer.leave()))
  let left = false
  void leaving.then(() => {
    left = true
  })
  if (!(await clock.until(() => left, clock.now() + 60_000))) judge.broken('Somebody cannot leave')
  // Those who died are noticed by their silence.
  await clock.pass(90_000)
  for (const { node, scheduler } of site.schedulers) {
    const state = scheduler?.explain() as { hosts: unknown[]; peers: number; calls: number }
    const { hosts, peers, calls } = state
    if (hosts.length + peers + calls > 0) {
      judge.broken(`${node.name} still knows ${hosts.length} hosts, ${peers} peers, ${calls} calls`)
    }
  }
  for (const scheduler of site.schedulers) scheduler.stop()
  await clock.until(() => false, clock.now() + 3_600_000)
  const open = {
    runs: site.runsOpen,
    origin: site.origin.open,
    network: network.underWay,
    timers: clock.pending,
  }
  if (Object.values(open).some((count) => count > 0)) {
    judge.broken(`Left over: ${JSON.stringify(open)}`)
  }
}

/** The origin is read once by all together when nothing goes wrong, and never more than each run has reason to. */
function checkOrigin({ origin, scenario, judge, missed }: Site): void {
  // Who wants a part may get it before anybody who wants it all is there, from an origin without parts with all that stands before it.
  const parts = scenario.peers.flatMap(({ range }) => range ?? [])
  const slack = parts.reduce((bytes, { start, length }) => {
    const read = scenario.origin.ranges ? length : start + length
    return bytes + read + 2 * scenario.pieceLength + scenario.origin.chunkBytes
  }, 0)
  if (scenario.calm && origin.sent > 1.05 * scenario.contentLength + slack) {
    judge.broken(`The origin sent ${origin.sent} bytes of ${scenario.contentLength}`)
  }
  // A peer that goes away or behaves badly makes others turn to the origin for what only it had; the scheduler sees to it that one of them does.
  const mild = scenario.events.every(({ is }) => mildEvents.includes(is))
  if (mild && origin.sent > (1.05 + scenario.events.length) * scenario.contentLength + slack) {
    judge.broken(`The origin sent ${origin.sent} bytes of ${scenario.contentLength}`)
  }
  // Each run asks for what it misses, and for a piece again when the first answer broke off.
  if (origin.sent > 4 * missed) {
    judge.broken(`The origin sent ${origin.sent} bytes to runs that missed ${missed}`)
  }
}

/** Events that leave origin, schedulers and the ways to them as they are. */
const mildEvents: readonly string[] = ['kill', 'leave', 'manners', 'cancel']

/** Looks now and then whether everything stays within bounds. */
class Watch {
  readonly #site: Site
  #events = 0
  timersMost = 0

  constructor(site: Site) {
    this.#site = site
  }

  /** Always false, so that it can stand before another condition. */
  look(): false {
    if (this.#events++ % lookEvery !== 0) return false
    const { clock, peers, judge } = this.#site
    this.timersMost = Math.max(this.timersMost, clock.pending)
    if (clock.pending > timersPerPeerMax * (peers.length + 1)) {
      judge.broken(`${clock.pending} timers for ${peers.length} peers`)
    }
    for (const { plan, task } of peers) {
      // One more for the stream of an origin that gives no parts.
      if ((task?.openSlots ?? 0) > plan.concurrency + 1) {
        judge.broken(`${plan.name} has ${task?.openSlots} open slots`)
      }
    }
    return false
  }
}

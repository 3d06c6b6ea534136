import { EmbeddedScheduler } from '../../../src/scheduler/embedded/scheduler.ts'
import { type Channel, localChannel } from '../../../src/rpc/channel.ts'
import { type Geometry, geometry } from '../../../src/task/piece.ts'
import type { TaskSpec } from '../../../src/task/ports.ts'
import { VirtualClock } from '../clock.ts'
import { SimChannel } from './channel.ts'
import { Dice } from './dice.ts'
import { Judge } from './judge.ts'
import { Network, type Node } from './network.ts'
import { originName, originUrl, SwarmOrigin } from './origin.ts'
import { SimPeer } from './peer.ts'
import { specOf } from './process.ts'
import type { Scenario } from './scenario.ts'
import { Weather } from './weather.ts'
import type { World } from './world.ts'

/** A machine with a scheduler: after a restart it knows nothing. */
export class SimScheduler {
  readonly node: Node
  readonly #site: Site
  #running: { readonly scheduler: EmbeddedScheduler; readonly channel: Channel } | undefined

  constructor(site: Site, node: Node) {
    this.#site = site
    this.node = node
  }

  get scheduler(): EmbeddedScheduler | undefined {
    return this.#running?.scheduler
  }

  readonly serve = (): Channel | undefined => this.#running?.channel

  start(): void {
    const { network, clock, dice } = this.#site
    this.node.start()
    const from = this.node.name
    const scheduler = new EmbeddedScheduler({
      clock,
      random: dice.random,
      dial: ({ id }) =>
        new SimChannel({
          network,
          from,
          to: id,
          address: id,
          serve: () => this.#site.peer(id).process?.services,
        }),
    })
    this.#running = { scheduler, channel: localChannel(scheduler.routes) }
  }

  stop(): void {
    const running = this.#running
    this.#running = undefined
    this.node.stop()
    running?.scheduler.close()
    running?.channel.close()
  }
}

/** How a swarm is watched. */
export interface SiteOptions {
  /** Hears each thing that happens. */
  readonly tell?: ((line: string) => void) | undefined
}

/** Everything there is in one swarm. */
export class Site implements World {
  readonly scenario: Scenario
  readonly clock: VirtualClock = new VirtualClock()
  readonly dice: Dice
  readonly network: Network
  readonly origin: SwarmOrigin
  readonly weather: Weather
  readonly judge: Judge
  readonly peers: readonly SimPeer[]
  readonly schedulers: readonly SimScheduler[]
  readonly spec: TaskSpec
  readonly #tell: (line: string) => void
  readonly #peers: ReadonlyMap<string, SimPeer>
  /** Runs that have not ended. */
  runsOpen = 0
  /** Runs that were started, and the bytes that they missed then. */
  runs = 0
  missed = 0

  constructor(scenario: Scenario, { tell }: SiteOptions) {
    this.scenario = scenario
    this.#tell = tell ?? (() => undefined)
    this.dice = new Dice(scenario.seed ^ 0x5eed)
    this.network = new Network(this.clock, this.dice, scenario.network)
    this.network.add(originName).start()
    const { contentLength } = scenario
    this.origin = new SwarmOrigin(this.network, this.dice, scenario.origin, contentLength)
    this.weather = new Weather(() => this.clock.now())
    this.judge = new Judge(this)
    this.spec = specOf(
      scenario.seed.toString(16).padStart(64, '7'),
      originUrl,
      scenario.pieceLength,
    )
    this.schedulers = scenario.schedulers.map(
      (name) => new SimScheduler(this, this.network.add(name)),
    )
    for (const { name } of scenario.peers) this.network.add(name)
    this.peers = scenario.peers.map((plan, at) => new SimPeer(this, plan, at))
    this.#peers = new Map(this.peers.map((peer) => [peer.plan.name, peer]))
  }

  /** How the newest content is cut. */
  get cut(): Geometry {
    return geometry(this.origin.version.contentLength, this.scenario.pieceLength)
  }

  get schedulerAddresses(): readonly string[] {
    return this.schedulers.map((_, at) => `10.1.0.${at + 1}:8002`)
  }

  schedulerAt(address: string): SimScheduler {
    const scheduler = this.schedulers[this.schedulerAddresses.indexOf(address)]
    if (scheduler === undefined) throw new Error(`No scheduler at ${address}`)
    return scheduler
  }

  schedulerNamed(name: string): SimScheduler {
    const scheduler = this.schedulers.find(({ node }) => node.name === name)
    if (scheduler === undefined) throw new Error(`No scheduler ${name}`)
    return scheduler
  }

  peer(name: string): SimPeer {
    const peer = this.#peers.get(name)
    if (peer === undefined) throw new Error(`No peer ${name}`)
    return peer
  }

  onRun(missed: number): void {
    this.runs++
    this.missed += missed
  }

  ending(ended: Promise<void>): void {
    this.runsOpen++
    void ended.then(() => this.runsOpen--)
  }

  trace(line: string): void {
    this.#tell(`${String(this.clock.now()).padStart(8)} ${line}`)
  }
}

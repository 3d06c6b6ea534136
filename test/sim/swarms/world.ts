import type { Geometry, Piece } from '../../../src/task/piece.ts'
import type { TaskSpec } from '../../../src/task/ports.ts'
import type { Channel } from '../../../src/rpc/channel.ts'
import type { VirtualClock } from '../clock.ts'
import type { Dice } from './dice.ts'
import type { SimDisk, SimTask } from './disk.ts'
import type { Network, Node } from './network.ts'
import type { SwarmOrigin } from './origin.ts'
import type { Upload } from './pieces.ts'
import type { PeerPlan, Scenario } from './scenario.ts'
import type { Weather } from './weather.ts'

/** A peer, as its own process and the judge see it. */
export interface Inhabitant extends Upload {
  readonly plan: PeerPlan
  readonly address: { readonly ip: string; readonly port: number }
  readonly disk: SimDisk
  /** It never comes back. */
  readonly gone: boolean
  /** An id that no registration of this peer has had. */
  newId(): string
}

/** Who hears what is kept, delivered and failed. */
export interface Court {
  /** Something is not as it should be. */
  broken(what: string): void
  /** A task is made. */
  onTask(task: SimTask): void
  /** A piece is kept. */
  onKept(peer: Inhabitant, task: SimTask, piece: Piece, bytes: Uint8Array): void
  /** The application got what it wanted. */
  onDelivered(peer: Inhabitant, task: SimTask): void
  /** A download failed that began at `from`. */
  onFailed(peer: Inhabitant, task: SimTask | undefined, error: unknown, from: number): void
}

/** Everything that the parts of a swarm share. */
export interface World {
  readonly scenario: Scenario
  readonly clock: VirtualClock
  readonly dice: Dice
  readonly network: Network
  readonly origin: SwarmOrigin
  readonly weather: Weather
  readonly judge: Court
  readonly spec: TaskSpec
  readonly peers: readonly Inhabitant[]
  /** How the newest content is cut. */
  readonly cut: Geometry
  readonly schedulerAddresses: readonly string[]
  schedulerAt(address: string): {
    readonly node: Node
    readonly serve: () => Channel | undefined
  }
  peer(name: string): Upload
  /** A run starts that misses so many bytes. */
  onRun(missed: number): void
  /** A run ends when this resolves. */
  ending(ended: Promise<void>): void
  trace(line: string): void
}

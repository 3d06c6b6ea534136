import type { SchedulerClient } from '../scheduler/client.ts'
import type { Sources } from '../source/sources.ts'
import type { Store } from '../storage/store.ts'
import type { Announcer, Feed, PieceReader } from '../task/ports.ts'
import type { Clock } from '../util/clock.ts'
import type { Announcements } from './announcements.ts'
import type { Live } from './live.ts'
import type { MeteredGate } from './metered-gate.ts'
import type { PeerLimits } from './options.ts'
import type { Settings } from './settings.ts'

/** How this host is known to others. */
export interface HostIdentity {
  readonly id: string
  readonly ip: string
  readonly hostname: string
  /** Port of the gRPC upload service. */
  readonly port: number
  /** Port that pieces are served on over TCP; undefined when no transport listens there. */
  readonly tcpPort: number | undefined
}

/** The adapters of one peer, put together by `assemble`. Everything in `peer/` that does work gets this and nothing else. */
export interface World {
  readonly settings: Settings
  /** The limits of now; those of `settings` are the ones of the start. */
  readonly limits: Live<PeerLimits>
  readonly clock: Clock
  readonly host: HostIdentity
  /** Where content lies unless it is wanted in memory. */
  readonly store: Store
  /** Content that is handed to the application as memory. May be the same as `store`. */
  readonly memory: Store
  /** Both, without repetition, in the order in which they are searched. */
  readonly stores: readonly Store[]
  readonly sources: Sources
  readonly scheduler: SchedulerClient
  /** Bandwidth of everything that is fetched. */
  readonly downloadGate: MeteredGate
  /** What the engine needs. */
  readonly ports: {
    readonly announcer: Announcer
    readonly feed: Feed
    readonly reader: PieceReader
    readonly clock: Clock
    readonly random: () => number
    readonly newPeerId: () => string
  }
  /** A fresh peer id: one for each registration. */
  newPeerId(): string
  readonly announcements: Announcements
}

/** The life of a peer, as its parts see it. */
export interface Signals {
  /** Fires when everything stops. */
  readonly lifetime: AbortSignal
  /** Fires when no new work is taken. */
  readonly closing: AbortSignal
}

import type { TestContext } from 'node:test'

import { type Client, createClient, createRouterTransport } from '@connectrpc/connect'

import { type Channel, localChannel } from '../../src/rpc/channel.ts'
import { wireTime } from '../../src/rpc/convert.ts'
import { ownPlatform } from '../../src/rpc/convert-host.ts'
import type { Download } from '../../src/rpc/gen/common/v2/common_pb.ts'
import {
  type DownloadPersistentCacheTaskRequest,
  DfdaemonUpload,
} from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import type { SchedulerLimits } from '../../src/scheduler/embedded/limits.ts'
import type { Dial } from '../../src/scheduler/embedded/host-calls.ts'
import { EmbeddedScheduler } from '../../src/scheduler/embedded/scheduler.ts'
import { VirtualClock } from '../sim/clock.ts'
import { Child, daemonHost } from './child.ts'

/** What a host does when the scheduler calls it. What is missing is refused. */
export interface HostDuties {
  readonly download?: (download: Download | undefined, signal: AbortSignal) => Promise<void>
  readonly replicate?: (request: DownloadPersistentCacheTaskRequest) => Promise<void>
  readonly keep?: (taskId: string) => Promise<void>
  readonly drop?: (taskId: string) => Promise<void>
  readonly ping?: () => Promise<void>
}

/** An embedded scheduler, its hosts and their downloads, all in one process and without a clock of the machine. */
export class Site {
  readonly clock: VirtualClock = new VirtualClock()
  readonly scheduler: EmbeddedScheduler
  readonly channel: Channel
  readonly client: Client<typeof Scheduler>
  readonly taskId: string = `task-${'0'.repeat(60)}`
  readonly #duties = new Map<string, ReturnType<Dial>>()
  readonly #children: Child[] = []

  constructor(t: TestContext, limits: Partial<SchedulerLimits> = {}) {
    this.scheduler = new EmbeddedScheduler({
      clock: this.clock,
      random: () => 0,
      limits,
      dial: ({ id }) => this.#duties.get(id) ?? createRouterTransport(() => undefined),
    })
    this.channel = localChannel(this.scheduler.routes)
    this.client = createClient(Scheduler, this.channel)
    t.after(() => {
      for (const child of this.#children) child.vanish()
      this.scheduler.close()
      this.channel.close()
    })
  }

  /** Announces a host; its id. */
  async host(
    id: string,
    more: Parameters<typeof daemonHost>[1] = {},
    intervalMs = 30_000,
  ): Promise<string> {
    await this.client.announceHost({ host: daemonHost(id, more), interval: wireTime(intervalMs) })
    return id
  }

  /** Announces a host of this package. */
  own(id: string, more: Parameters<typeof daemonHost>[1] = {}): Promise<string> {
    return this.host(id, { build: { platform: ownPlatform }, ...more })
  }

  /** Says what this host does when it is called. */
  onCall(hostId: string, duties: HostDuties): void {
    const transport = createRouterTransport((router) => {
      router.service(DfdaemonUpload, {
        async *downloadTask({ download }, { signal }) {
          await called(duties.download)(download, signal)
          yield* []
        },
        async *downloadPersistentCacheTask(request) {
          await called(duties.replicate)(request)
          yield* []
        },
        async updatePersistentCacheTask({ taskId }) {
          await called(duties.keep)(taskId)
          return {}
        },
        async deletePersistentCacheTask({ taskId }) {
          await called(duties.drop)(taskId)
          return {}
        },
      })
    })
    const { ping } = duties
    this.#duties.set(hostId, ping === undefined ? transport : { ...transport, ping })
  }

  /** A seed that fetches whatever it is asked to, until it is told otherwise. Its downloads. */
  async seed(id: string): Promise<readonly Child[]> {
    const downloads: Child[] = []
    await this.own(id, { type: 1 })
    this.onCall(id, {
      download: async (download) => {
        const child = this.child(id).register(asOrdered(download))
        downloads.push(child)
        await child.next()
        child.sourceStarted().piece(0)
      },
    })
    return downloads
  }

  /** A download on this host. */
  child(hostId: string, taskId: string = this.taskId): Child {
    const child = new Child(this.channel, hostId, taskId)
    this.#children.push(child)
    return child
  }

  /** A download on this host that was sent to the origin, and is there. */
  async reader(hostId: string, download: Parameters<Child['register']>[0]): Promise<Child> {
    const child = this.child(hostId).register(download)
    const told = await child.next()
    if (told?.case !== 'needBackToSourceResponse') throw new Error(`Got ${told?.case}`)
    child.sourceStarted()
    await this.clock.settle()
    return child
  }

  /** What is told without any time passing; `nothing` when nobody is told anything. */
  async now<T>(told: Promise<T>): Promise<T | 'nothing'> {
    const nothing = (async () => {
      // Messages pass through a few layers, each of which may take a turn.
      for (let turn = 0; turn < 5; turn++) await this.clock.settle()
      return 'nothing' as const
    })()
    return await Promise.race([told, nothing])
  }

  /** What the scheduler says about itself. */
  explain(): Explained {
    return this.scheduler.explain() as Explained
  }
}

/** The parts of `EmbeddedScheduler.explain()` that tests look at. */
export interface Explained {
  readonly hosts: readonly { readonly id: string }[]
  readonly tasks: readonly {
    readonly id: string
    readonly state: string
    readonly waiting: readonly { readonly peer: string }[]
    readonly peers: readonly {
      readonly id: string
      readonly is: string
      readonly parents: readonly string[]
      readonly children: number
    }[]
  }[]
}

function asOrdered(download: Download | undefined): Download {
  if (download?.needBackToSource !== true) throw new Error('The seed was not ordered to the origin')
  return download
}

function called<T>(duty: T | undefined): T {
  if (duty === undefined) throw new Error('This host does not do that')
  return duty
}

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { cleanup, type Ending } from '../../support/cleanup.ts'
import { tempFolder } from '../../support/temp-folder.ts'
import { binary } from './binaries.ts'
import { type Config, merged, writeConfig } from './config-file.ts'
import { eventually } from './eventually.ts'
import { freePorts } from './free-ports.ts'
import { serves } from './health.ts'
import { Program } from './program.ts'

/** How a real scheduler is started. */
export interface SchedulerProgramOptions {
  /** Address of a Redis, for written content. @defaultValue none */
  readonly redis?: string
  /** Address of the manager's gRPC port (`host:port`). @defaultValue none: it reads its limits from a file */
  readonly manager?: string
  /** Added to its configuration file. */
  readonly config?: Config
  /** Added to the file with the limits. Without a manager only. */
  readonly limits?: Config
}

/** How often the scheduler rebuilds its list of seed peers; the first time so long after its start. It does not say when it did. */
const seedRefreshMs = 30_000
/** For the health checks that belong to it, and for the clocks. */
const seedRefreshMarginMs = 1500

/** The real scheduler, written in Go. It listens on 127.0.0.1. */
export class SchedulerProgram {
  readonly folder: string
  readonly port: number
  #program: Program
  #startedAt = performance.now()
  readonly #start: () => Program

  private constructor(folder: string, port: number, start: () => Program) {
    this.folder = folder
    this.port = port
    this.#start = start
    this.#program = start()
  }

  /** Starts it and waits until it serves. */
  static async start(t: Ending, options: SchedulerProgramOptions = {}): Promise<SchedulerProgram> {
    const folder = tempFolder(t)
    const [port = 0] = await freePorts(1)
    const args = [
      '--config',
      writeConfig(folder, 'scheduler.yaml', configOf(folder, port, options)),
    ]
    if (options.manager === undefined) {
      const limits = merged(limitDefaults, options.limits ?? {})
      args.push('--dynconfig', writeConfig(folder, 'limits.yaml', limits))
    }
    args.push('--console')
    const path = binary('scheduler')
    const scheduler = new SchedulerProgram(folder, port, () =>
      Program.spawn({ name: 'scheduler', path, args, folder }),
    )
    cleanup(t, async () => void (await scheduler.program.stop()))
    await scheduler.#ready()
    return scheduler
  }

  /** For `Peer.start({ scheduler })` and for daemons. */
  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  /** The running process; another one after `restart()`. */
  get program(): Program {
    return this.#program
  }

  /** Starts it again on the same port, with empty memory. What runs is stopped first; kill it yourself for a crash. */
  async restart(): Promise<void> {
    await this.#program.stop()
    this.#startedAt = performance.now()
    this.#program = this.#start()
    await this.#ready()
  }

  /**
   * Waits until the scheduler has looked for seed peers once more, up to 32 s. A seed can be triggered only after that, so it has to have announced itself
   * before this is called.
   */
  async untilSeedsAreKnown(): Promise<void> {
    const sinceStart = performance.now() - this.#startedAt
    const next = (Math.floor(sinceStart / seedRefreshMs) + 1) * seedRefreshMs + seedRefreshMarginMs
    await eventually(
      'the next look for seed peers',
      () => performance.now() - this.#startedAt > next,
      { timeoutMs: seedRefreshMs * 2, everyMs: 250 },
    )
  }

  async #ready(): Promise<void> {
    await this.#program.until('serves', async () => (await serves(this.address)) || undefined)
  }
}

const limitDefaults: Config = {
  schedulerClusterConfig: { candidateParentLimit: 3, filterParentLimit: 15 },
  schedulerClusterClientConfig: { loadLimit: 200 },
  seedPeerClusterConfig: { loadLimit: 2000 },
}

function configOf(
  folder: string,
  port: number,
  { redis, manager, config = {} }: SchedulerProgramOptions,
): Config {
  for (const name of ['log', 'plugin']) mkdirSync(join(folder, name), { recursive: true })
  const base: Config = {
    server: {
      advertiseIP: '127.0.0.1',
      advertisePort: port,
      listenIP: '127.0.0.1',
      port,
      logDir: join(folder, 'log'),
      pluginDir: join(folder, 'plugin'),
    },
    job: { enable: false },
    ...(redis === undefined ? {} : { database: { redis: { addrs: [redis] } } }),
    ...(manager === undefined
      ? {}
      : { manager: { addr: manager, schedulerClusterID: 1, keepAlive: { interval: '1s' } } }),
  }
  return merged(base, config)
}

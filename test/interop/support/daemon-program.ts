import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { cleanup, type Ending } from '../../support/cleanup.ts'
import { tempFolder } from '../../support/temp-folder.ts'
import { binary } from './binaries.ts'
import { type Config, merged, writeConfig } from './config-file.ts'
import { freePorts } from './free-ports.ts'
import { serves } from './health.ts'
import { Program } from './program.ts'

/** How a real daemon is started. */
export interface DaemonProgramOptions {
  /** Addresses of schedulers, written into its file of addresses. Not with `manager`. */
  readonly schedulers?: readonly string[]
  /** Address of the manager's gRPC port (`host:port`). */
  readonly manager?: string
  /** Name of the host; with 127.0.0.1 it is the id of the host. @defaultValue one that nobody else has */
  readonly hostname?: string
  /** Whether the scheduler may send it to an origin for others. @defaultValue `false` */
  readonly seed?: boolean
  /** Added to its configuration file, such as `{ upload: { server: { requestRateLimit: 1 } } }`. */
  readonly config?: Config
  /** `debug` is needed for `pieces()`. @defaultValue `'debug'` */
  readonly logLevel?: 'info' | 'debug' | 'trace'
}

/** Bytes that a daemon fetched since its start, by where they came from. */
export interface DaemonTraffic {
  readonly source: number
  readonly peers: number
  readonly local: number
}

/** A piece that a daemon fetched from a parent, by its log. */
export interface DaemonPiece {
  readonly number: number
  /** Id of the peer, which begins with the id of its host. */
  readonly parent: string
  readonly protocol: string
}

/** Milliseconds for its start: it takes five seconds for itself before it first announces. */
const startTimeoutMs = 60_000

/** The real client daemon, written in Rust. All its ports are on 127.0.0.1. */
export class DaemonProgram {
  /** Its storage, socket, log and configuration. Outputs may go there too. */
  readonly folder: string
  /** For `dfget` and the like. */
  readonly socketPath: string
  readonly hostname: string
  /** As the scheduler knows it. Ids of its peers begin with it, but for the ending `-seed`. */
  readonly hostId: string
  #ports: DaemonPorts
  #program: Program
  readonly #start: (on: DaemonPorts) => Program

  private constructor(
    folder: string,
    hostname: string,
    seed: boolean,
    ports: DaemonPorts,
    start: (on: DaemonPorts) => Program,
  ) {
    this.folder = folder
    this.socketPath = join(folder, 'd.sock')
    this.hostname = hostname
    this.hostId = `127.0.0.1-${hostname}${seed ? '-seed' : ''}`
    this.#ports = ports
    this.#start = start
    this.#program = start(ports)
  }

  /** Starts it and waits until it has announced itself and serves on both its gRPC ports. */
  static async start(t: Ending, options: DaemonProgramOptions): Promise<DaemonProgram> {
    const folder = tempFolder(t)
    const ports = await daemonPorts()
    const hostname = options.hostname ?? `daemon-${ports.upload}`
    const configFile = (on: DaemonPorts): string =>
      writeConfig(folder, 'dfdaemon.yaml', configOf(folder, hostname, on, options))
    const args = [
      '--dynconfig',
      writeConfig(folder, 'addresses.yaml', { scheduler: { addrs: options.schedulers ?? [] } }),
      '--log-dir',
      join(folder, 'log'),
      '--log-level',
      options.logLevel ?? 'debug',
      '--console',
    ]
    const path = binary('dfdaemon')
    const daemon = new DaemonProgram(folder, hostname, options.seed ?? false, ports, (on) =>
      Program.spawn({
        name: 'dfdaemon',
        path,
        args: ['--config', configFile(on), ...args],
        folder,
      }),
    )
    cleanup(t, async () => void (await daemon.program.stop()))
    await daemon.#ready()
    return daemon
  }

  /** Where it listens. */
  get ports(): DaemonPorts {
    return this.#ports
  }

  /** Of the upload service: what the scheduler tells others. */
  get address(): string {
    return `127.0.0.1:${this.ports.upload}`
  }

  /** The running process; another one after `restart()`. */
  get program(): Program {
    return this.#program
  }

  /**
   * Starts it again with the same name, address and storage. What runs is stopped first; kill it yourself for a crash. Pieces get another TCP port: the daemon
   * listens there without SO_REUSEADDR, so the old one stays taken for a minute after it has served somebody.
   */
  async restart(): Promise<void> {
    await this.#program.stop()
    const [tcp = 0] = await freePorts(1)
    this.#ports = { ...this.#ports, tcp }
    // A daemon that was killed leaves its socket, and the old one must not be taken for the new one's.
    rmSync(this.socketPath, { force: true })
    this.#program = this.#start(this.#ports)
    await this.#ready()
  }

  /** What it counted since its start, in the form of Prometheus. */
  async metrics(): Promise<string> {
    const answer = await fetch(`http://127.0.0.1:${this.ports.metrics}/metrics`)
    return answer.text()
  }

  /** Bytes it fetched since its start, by its own count. */
  async traffic(): Promise<DaemonTraffic> {
    const text = await this.metrics()
    const of = (type: string): number => {
      const line = new RegExp(`_download_traffic\\{[^}]*type="${type}"[^}]*\\} (\\d+)`).exec(text)
      return Number(line?.[1] ?? 0)
    }
    return { source: of('BACK_TO_SOURCE'), peers: of('REMOTE_PEER'), local: of('LOCAL_PEER') }
  }

  /** Bytes it sent to others since its start, by its own count. */
  async uploaded(): Promise<number> {
    const line = /_upload_traffic(?:\{[^}]*\})? (\d+)/.exec(await this.metrics())
    return Number(line?.[1] ?? 0)
  }

  /** Pieces of a task that it fetched from parents, in the order in which they were done. */
  pieces(task: string): DaemonPiece[] {
    const line = new RegExp(
      `finished piece ${task}-(\\d+) from parent (?:Some\\()?"([^"]+)"\\)? using protocol (\\w+)`,
      'g',
    )
    return [...this.#program.log().matchAll(line)].map(
      ([, number, parent = '', protocol = '']) => ({
        number: Number(number),
        parent,
        protocol,
      }),
    )
  }

  async #ready(): Promise<void> {
    const patience = { timeoutMs: startTimeoutMs }
    await this.#program.until(
      'serves on its socket and its upload port',
      async () =>
        ((await serves(`unix:${this.socketPath}`)) &&
          (await serves(this.address, 'dfdaemon.v2.DfdaemonUpload'))) ||
        undefined,
      patience,
    )
  }
}

/** Where a daemon listens. */
export interface DaemonPorts {
  readonly upload: number
  readonly tcp: number
  readonly quic: number
  readonly proxy: number
  readonly metrics: number
  readonly health: number
  readonly stats: number
}

async function daemonPorts(): Promise<DaemonPorts> {
  const [upload = 0, tcp = 0, quic = 0, proxy = 0, metrics = 0, health = 0, stats = 0] =
    await freePorts(7)
  return { upload, tcp, quic, proxy, metrics, health, stats }
}

function configOf(
  folder: string,
  hostname: string,
  ports: DaemonPorts,
  { manager, seed = false, config = {} }: DaemonProgramOptions,
): Config {
  const on = (port: number): Config => ({ server: { ip: '127.0.0.1', port } })
  const base: Config = {
    host: { ip: '127.0.0.1', hostname },
    // Its own default is five minutes; a restarted scheduler knows a host only from its next announcement.
    scheduler: { announceInterval: '1s' },
    dynconfig: { refreshInterval: '2s' },
    download: { server: { socketPath: join(folder, 'd.sock') } },
    upload: on(ports.upload),
    storage: {
      dir: join(folder, 'storage'),
      keep: true,
      server: { ip: '127.0.0.1', tcpPort: ports.tcp, quicPort: ports.quic },
    },
    proxy: on(ports.proxy),
    metrics: on(ports.metrics),
    health: on(ports.health),
    stats: on(ports.stats),
    // It counts what others have on the disk too, and would drop content in the middle of a test.
    gc: { policy: { diskHighThresholdPercent: 99, diskLowThresholdPercent: 98 } },
    server: { cacheDir: join(folder, 'cache'), pluginDir: join(folder, 'plugins') },
    ...(seed ? { seedPeer: { enable: true, type: 'super' } } : {}),
    ...(manager === undefined ? {} : { manager: { addr: `http://${manager}` } }),
  }
  return merged(base, config)
}

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Ending } from '../../support/cleanup.ts'
import { tempFolder } from '../../support/temp-folder.ts'
import { binary } from './binaries.ts'
import { type Config, merged, writeConfig } from './config-file.ts'
import { freePorts } from './free-ports.ts'
import { serves } from './health.ts'
import { databaseName } from './mariadb-program.ts'
import { Program } from './program.ts'

/** What a manager stands on. */
export interface ManagerProgramOptions {
  /** Port of a MariaDB on 127.0.0.1 with the database of `MariadbProgram`. */
  readonly mariadb: number
  /** Address of a Redis. */
  readonly redis: string
  /** Added to its configuration file. */
  readonly config?: Config
}

/** Milliseconds for its start, in which it makes its tables. */
const startTimeoutMs = 90_000

/** The real manager, written in Go. It listens on 127.0.0.1, but for its console, which listens where its makers want. */
export class ManagerProgram {
  readonly folder: string
  readonly port: number
  readonly program: Program

  private constructor(program: Program, folder: string, port: number) {
    this.program = program
    this.folder = folder
    this.port = port
  }

  /** Starts it and waits until it serves. It ends with the test. */
  static async start(t: Ending, options: ManagerProgramOptions): Promise<ManagerProgram> {
    const folder = tempFolder(t)
    const [port = 0, console = 0] = await freePorts(2)
    const config = writeConfig(folder, 'manager.yaml', configOf(folder, port, console, options))
    const program = Program.start(t, {
      name: 'manager',
      path: binary('manager'),
      args: ['--config', config, '--console'],
      folder,
    })
    const manager = new ManagerProgram(program, folder, port)
    await program.until('serves', async () => serves(manager.address), {
      timeoutMs: startTimeoutMs,
    })
    return manager
  }

  /** For `Peer.start({ scheduler: { manager } })`, for schedulers and daemons. */
  get address(): string {
    return `127.0.0.1:${this.port}`
  }
}

function configOf(
  folder: string,
  port: number,
  console: number,
  { mariadb, redis, config = {} }: ManagerProgramOptions,
): Config {
  for (const name of ['log', 'plugin']) mkdirSync(join(folder, name), { recursive: true })
  const base: Config = {
    server: {
      grpc: { advertiseIP: '127.0.0.1', listenIP: '127.0.0.1', port: { start: port, end: port } },
      rest: { addr: `127.0.0.1:${console}` },
      logDir: join(folder, 'log'),
      pluginDir: join(folder, 'plugin'),
      cacheDir: join(folder, 'cache'),
    },
    auth: { jwt: { key: 'a key for tests only' } },
    database: {
      type: 'mariadb',
      mysql: {
        user: databaseName,
        password: databaseName,
        host: '127.0.0.1',
        port: mariadb,
        dbname: databaseName,
        migrate: true,
      },
      redis: { addrs: [redis] },
    },
    // It remembers lists of schedulers for minutes, whatever becomes of them; these tests are about what becomes of them.
    cache: { redis: { ttl: '1s' }, local: { size: 100, ttl: '1s' } },
  }
  return merged(base, config)
}

import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { once } from 'node:events'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import type { Ending } from '../../support/cleanup.ts'
import { tempFolder } from '../../support/temp-folder.ts'
import { freePorts } from './free-ports.ts'
import { Program } from './program.ts'
import { systemProgram } from './system-program.ts'

/** Name of the database, of its user and of the password: it listens on 127.0.0.1 and lives as long as the test. */
export const databaseName = 'dragonfly'

/** Milliseconds for making the tables of the system. */
const installTimeoutMs = 120_000
/** Milliseconds for the first bytes of a connection. */
const greetingTimeoutMs = 2000

/** A MariaDB of our own, in a folder of the test, as the user of this process. */
export class MariadbProgram {
  readonly port: number
  readonly program: Program

  private constructor(program: Program, port: number) {
    this.program = program
    this.port = port
  }

  /** Makes a database and starts its server. It ends with the test. @throws Error where there is no MariaDB */
  static async start(t: Ending): Promise<MariadbProgram> {
    const server = systemProgram('mariadbd', 'mariadb-server')
    const install = systemProgram('mariadb-install-db', 'mariadb-server')
    const folder = tempFolder(t)
    const data = join(folder, 'data')
    mkdirSync(data)
    const { username } = userInfo()
    const common = ['--no-defaults', `--datadir=${data}`, `--user=${username}`]
    execFileSync(
      install,
      [...common, '--auth-root-authentication-method=normal', '--skip-test-db'],
      { stdio: 'pipe', timeout: installTimeoutMs },
    )
    const init = join(folder, 'init.sql')
    const user = `'${databaseName}'@'%'`
    writeFileSync(
      init,
      [
        `CREATE DATABASE ${databaseName};`,
        `CREATE USER ${user} IDENTIFIED BY '${databaseName}';`,
        `GRANT ALL ON ${databaseName}.* TO ${user};`,
        '',
      ].join('\n'),
    )
    const [port = 0] = await freePorts(1)
    const program = Program.start(t, {
      name: 'mariadb',
      path: server,
      args: [
        ...common,
        '--bind-address=127.0.0.1',
        `--port=${port}`,
        `--socket=${join(folder, 'm.sock')}`,
        `--pid-file=${join(folder, 'm.pid')}`,
        '--skip-name-resolve',
        '--innodb-buffer-pool-size=32M',
        // Nothing of it is wanted after a crash.
        '--innodb-flush-log-at-trx-commit=0',
        `--init-file=${init}`,
      ],
      folder,
    })
    await program.until('answers', () => greets(port))
    return new MariadbProgram(program, port)
  }
}

/** Whether a server says the first word, as those of MySQL do. */
async function greets(port: number): Promise<boolean> {
  const socket = createConnection({ host: '127.0.0.1', port })
  const timer = setTimeout(() => socket.destroy(new Error('It says nothing')), greetingTimeoutMs)
  try {
    await once(socket, 'data')
    return true
  } catch {
    // Not there yet; the caller looks again.
    return false
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}

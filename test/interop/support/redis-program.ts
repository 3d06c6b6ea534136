import { createConnection } from 'node:net'
import { once } from 'node:events'
import type { Ending } from '../../support/cleanup.ts'
import { tempFolder } from '../../support/temp-folder.ts'
import { freePorts } from './free-ports.ts'
import { Program } from './program.ts'
import { systemProgram } from './system-program.ts'

/** Milliseconds for one command to be answered. */
const answerTimeoutMs = 5000

/** A Redis of our own, on 127.0.0.1, that keeps nothing on disk. */
export class RedisProgram {
  readonly port: number
  readonly program: Program

  private constructor(program: Program, port: number) {
    this.program = program
    this.port = port
  }

  /** Starts it and waits until it answers. It ends with the test. @throws Error where there is no redis-server */
  static async start(t: Ending): Promise<RedisProgram> {
    const path = systemProgram('redis-server', 'redis-server')
    const folder = tempFolder(t)
    const [port = 0] = await freePorts(1)
    const args = ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder]
    const program = Program.start(t, {
      name: 'redis',
      path,
      args: [...args, '--save', '', '--appendonly', 'no'],
      folder,
    })
    const redis = new RedisProgram(program, port)
    await program.until('answers', async () => (await redis.says('PING')) === '+PONG')
    return redis
  }

  /** For `SchedulerProgram` and `ManagerProgram`. */
  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  /** The first line of the answer to a command without spaces in its arguments; undefined when nobody answers. */
  async says(command: string): Promise<string | undefined> {
    const socket = createConnection({ host: '127.0.0.1', port: this.port })
    const timer = setTimeout(() => socket.destroy(), answerTimeoutMs)
    try {
      socket.end(`${command}\r\n`)
      const [chunk] = (await once(socket, 'data')) as [Buffer]
      return chunk.toString('latin1').split('\r\n')[0]
    } catch {
      // Not there yet; the caller looks again.
      return undefined
    } finally {
      clearTimeout(timer)
      socket.destroy()
    }
  }
}

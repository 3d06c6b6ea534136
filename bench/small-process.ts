import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { PeerOptions } from '../src/index.ts'
import type { Answer, Order } from './small-peer.ts'

/** The process of one peer. */
export class SmallProcess {
  readonly #child: ChildProcess
  #scheduler = ''

  private constructor(args: readonly string[]) {
    this.#child = fork(fileURLToPath(new URL('./small-peer.js', import.meta.url)), {
      execArgv: ['--expose-gc', ...args],
    })
  }

  /** Starts a process with a peer. @param args - further arguments for Node */
  static async start(options: PeerOptions, args: readonly string[] = []): Promise<SmallProcess> {
    const made = new SmallProcess(args)
    const { scheduler } = await made.ask({ is: 'start', options })
    made.#scheduler = scheduler
    return made
  }

  /** By which others join. */
  get scheduler(): string {
    return this.#scheduler
  }

  /** Gives an order and waits for the answer. Rejects when the process ends. */
  async ask(order: Order): Promise<Answer> {
    const gone = new AbortController()
    const ended = once(this.#child, 'exit', { signal: gone.signal }).then((how) => {
      throw new Error(`A peer ended: ${how.join(' ')}`)
    })
    // Only the one that comes first counts.
    ended.catch(() => undefined)
    const answered = once(this.#child, 'message', { signal: gone.signal })
    answered.catch(() => undefined)
    this.#child.send(order)
    try {
      const [answer] = await Promise.race([answered, ended])
      return answer as Answer
    } finally {
      gone.abort()
    }
  }

  /** Closes the peer and waits for the process to end by itself. */
  async close(): Promise<void> {
    const exited = once(this.#child, 'exit')
    const order: Order = { is: 'close' }
    this.#child.send(order)
    await exited
  }

  /** Ends the process now. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

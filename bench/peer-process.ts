import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Answer, Order, Told } from './peer.ts'

/** A process with peers, from the side of the benchmark. One order at a time. */
export class PeerProcess implements AsyncDisposable {
  readonly #child: ChildProcess
  #waiting: PromiseWithResolvers | undefined
  #onBegun: (() => void) | undefined
  /** A process that is stopped does not hear that nobody needs it any more. */
  readonly #kill = (): void => void this.#child.kill('SIGKILL')

  /** @param script - what runs there, beside this file. @defaultValue `peer` */
  constructor(script = 'peer') {
    this.#child = fork(fileURLToPath(new URL(`./${script}.js`, import.meta.url)), {
      execArgv: ['--expose-gc'],
    })
    this.#child.on('message', (told: Told) => this.#onTold(told))
    process.once('exit', this.#kill)
    this.#child.on('exit', (code, signal) => {
      process.off('exit', this.#kill)
      this.#waiting?.reject(new Error(`A process of a peer ended: ${signal ?? code}`))
    })
  }

  /** Of the process. */
  get pid(): number {
    return this.#child.pid ?? -1
  }

  /** Gives an order and waits for the answer. @param onBegun - of a download with `tellBegin` */
  async ask(order: Order, onBegun?: () => void): Promise<Answer> {
    if (this.#waiting !== undefined) throw new Error('One order at a time')
    if (this.#child.exitCode !== null) throw new Error('The process of a peer has ended')
    this.#onBegun = onBegun
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting = { resolve, reject }
        this.#child.send(order)
      })
    } finally {
      this.#waiting = undefined
    }
  }

  /** Stops it, or lets it go on: nobody is told. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal)
  }

  /** Ends the process at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }

  #onTold(told: Told): void {
    if (told.is === 'begun') this.#onBegun?.()
    else if (told.is === 'error') this.#waiting?.reject(new Error(told.message))
    else this.#waiting?.resolve(told)
  }
}

interface PromiseWithResolvers {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

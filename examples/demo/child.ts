import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Order, Report } from './messages.ts'

/** Milliseconds that a child may take to exit after it was told to close. */
const exitTimeoutMs = 15_000

/** A child process, as the main process sees it. */
export class Child {
  readonly name: string
  readonly #process: ChildProcess
  readonly #exited: Promise<unknown>
  #onReport: (report: Report) => void = () => undefined
  #onGone: (error: Error) => void = () => undefined

  /** @param script - file name beside this one, without its extension */
  constructor(name: string, script: 'origin' | 'peer') {
    this.name = name
    this.#process = fork(fileURLToPath(new URL(`./${script}.js`, import.meta.url)))
    this.#exited = once(this.#process, 'exit')
    this.#process.on('message', (report: Report) => this.#onReport(report))
    this.#process.on('exit', (code, signal) => {
      this.#onGone(new Error(`${name} ended with ${signal ?? `code ${code}`}`))
    })
  }

  /** Gives an order and waits for the report of this kind. One order at a time. @throws Error when the child fails or ends */
  async ask<I extends Report['is']>(
    order: Order,
    answer: I,
    onProgress?: (bytes: number) => void,
  ): Promise<Extract<Report, { readonly is: I }>> {
    return new Promise((resolve, reject) => {
      this.#onGone = reject
      this.#onReport = (report) => {
        if (report.is === 'progress') onProgress?.(report.bytes)
        else if (report.is === 'failed') reject(new Error(`${this.name}: ${report.reason}`))
        else if (report.is === answer) resolve(report as Extract<Report, { readonly is: I }>)
      }
      this.#process.send(order, (error) => {
        if (error !== null) reject(error)
      })
    })
  }

  /** Tells the child to close, and waits until it has exited by itself. @throws Error when it does not, or not well */
  async close(): Promise<void> {
    let failure: string | undefined
    this.#onReport = (report) => {
      if (report.is === 'failed') failure = report.reason
    }
    const order: Order = { is: 'close' }
    this.#process.send(order)
    const timer = setTimeout(() => this.kill(), exitTimeoutMs)
    await this.#exited
    clearTimeout(timer)
    const { exitCode } = this.#process
    if (exitCode === 0 && failure === undefined) return
    throw new Error(`${this.name} did not exit by itself: ${failure ?? `code ${exitCode}`}`)
  }

  /** Ends the child at once, if it still runs. */
  kill(): void {
    this.#process.kill('SIGKILL')
  }
}

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { PeerError } from '../../../../src/errors.ts'
import { cleanup, type Ending } from '../../../support/cleanup.ts'

/** What a process can be told, by name, with what it answers. Both travel as `structuredClone()` would copy them, big integers and bytes included. */
export type Commands<C> = {
  readonly [N in keyof C]: { readonly ask: unknown; readonly answer: unknown }
}

/** How a process does what it is told. */
export type Acts<C extends Commands<C>> = {
  readonly [N in keyof C]: (ask: C[N]['ask']) => Promise<C[N]['answer']> | C[N]['answer']
}

interface Asked {
  readonly number: number
  readonly name: string
  readonly ask: unknown
}

interface Told {
  readonly number: number
  readonly answer?: unknown
  readonly error?: { readonly code: string; readonly message: string }
}

/** A failure in the other process. */
export class FarError extends Error {
  /** Of the `PeerError` or of an error of Node. */
  readonly code: string

  constructor(code: string, message: string) {
    super(`${code}: ${message}`)
    this.name = 'FarError'
    this.code = code
  }
}

/** Serves the process that started this one, until it lets go. */
export function serve<C extends Commands<C>>(acts: Acts<C>): void {
  const answer = async ({ number, name, ask }: Asked): Promise<Told> => {
    try {
      return { number, answer: await acts[name as keyof C](ask) }
    } catch (error) {
      return { number, error: { code: codeOf(error), message: String(error) } }
    }
  }
  process.on('message', (asked: Asked) => {
    void answer(asked).then((told) => process.connected && process.send?.(told))
  })
  // The test is gone: nobody else would end this process.
  process.once('disconnect', () => process.exit())
}

/** A process that serves. It is killed at the end of the test. */
export class Far<C extends Commands<C>> {
  readonly #process: ChildProcess
  readonly #waiting = new Map<
    number,
    { readonly resolve: (answer: never) => void; readonly reject: (error: Error) => void }
  >()
  #last = 0

  /**
   * @param script - calls `serve()`
   * @param command - starts the program that is named behind it, in another way
   */
  constructor(t: Ending, script: URL, command: readonly string[] = []) {
    const [program, ...prefix] = [...command, process.execPath]
    const args = ['--enable-source-maps', fileURLToPath(script)]
    this.#process = spawn(program, [...prefix, ...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
    })
    cleanup(t, () => this.kill())
    this.#process.on('message', (told: Told) => this.#onTold(told))
    this.#process.on('exit', (code, signal) => {
      const error = new FarError('GONE', `The process ended with ${signal ?? `code ${code}`}`)
      for (const { reject } of this.#waiting.values()) reject(error)
      this.#waiting.clear()
    })
  }

  /** Tells it to do something. */
  async ask<N extends keyof C & string>(name: N, ask: C[N]['ask']): Promise<C[N]['answer']> {
    const number = ++this.#last
    return new Promise((resolve, reject) => {
      if (!this.#process.connected) return reject(new FarError('GONE', 'The process has ended'))
      this.#waiting.set(number, { resolve, reject })
      // Killed just now: its end is not known here yet.
      this.#process.send({ number, name, ask } satisfies Asked, (error) => {
        if (error === null) return
        this.#waiting.delete(number)
        reject(new FarError('GONE', `The process has ended: ${error.message}`))
      })
    })
  }

  /** Stops it where it is: it holds what it has open and says nothing any more. */
  hang(): void {
    this.#process.kill('SIGSTOP')
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exited = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exited
  }

  #onTold({ number, answer, error }: Told): void {
    const waiting = this.#waiting.get(number)
    this.#waiting.delete(number)
    if (error === undefined) waiting?.resolve(answer as never)
    else waiting?.reject(new FarError(error.code, error.message))
  }
}

function codeOf(error: unknown): string {
  if (PeerError.is(error)) return error.code
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}

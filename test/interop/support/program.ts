import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cleanup, type Ending } from '../../support/cleanup.ts'
import { eventually, type Patience } from './eventually.ts'

/** What is run. */
export interface ProgramOptions {
  /** For messages, and of the log file. */
  readonly name: string
  readonly path: string
  readonly args?: readonly string[]
  /** Added to the environment of the test. */
  readonly env?: Readonly<Record<string, string>>
  /** Where the program runs and where its log file goes. */
  readonly folder: string
}

/** How a program ended. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** Characters of the last output that are kept in memory; all of it is in the log file. */
const outputLengthMax = 1 << 20
/** Characters of output that a message about a failure carries. */
const excerptLengthMax = 3000
/** Milliseconds that a program has after SIGTERM. */
const stopTimeoutMs = 15_000

/**
 * A program that runs beside the test. It is killed when the process of the test dies.
 *
 * Its output goes to `NAME.log` in the folder; the last mebibyte is in `output`.
 */
export class Program {
  readonly name: string
  /** The log file: all output since the first start with this name in this folder. */
  readonly logPath: string
  readonly #process: ChildProcess
  readonly #guard: ChildProcess
  readonly #ended: Promise<Ended>
  #output = ''
  #end: Ended | undefined

  private constructor({ name, path, args = [], env = {}, folder }: ProgramOptions) {
    this.name = name
    this.logPath = join(folder, `${name}.log`)
    this.#process = spawn(path, args, {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => this.#onOutput(text))
    }
    this.#ended = this.#untilEnd()
    this.#guard = guard(this.#process.pid)
  }

  /** Starts it and does not wait for anything. It is ended when the test ends. */
  static start(t: Ending, options: ProgramOptions): Program {
    const program = Program.spawn(options)
    cleanup(t, async () => void (await program.stop()))
    return program
  }

  /** Starts it. Whoever calls this ends it. */
  static spawn(options: ProgramOptions): Program {
    return new Program(options)
  }

  /** The last output, both streams as they came. */
  get output(): string {
    return this.#output
  }

  /** How it ended. Undefined: it runs. */
  get end(): Ended | undefined {
    return this.#end
  }

  /** Of the process. */
  get pid(): number {
    return this.#process.pid ?? -1
  }

  /** All output since the start, from the log file. */
  log(): string {
    return readFileSync(this.logPath, 'utf8')
  }

  /** Waits for the end by itself. */
  async ended(): Promise<Ended> {
    return this.#ended
  }

  /**
   * Waits until a fact holds, as long as the program runs.
   *
   * @throws Error with the last output when the program ends or the time is over
   */
  async until<T>(
    what: string,
    look: () => T | undefined | false | Promise<T | undefined | false>,
    patience: Patience = {},
  ): Promise<T> {
    try {
      return await eventually(
        what,
        async () => {
          const found = await look()
          if ((found === undefined || found === false) && this.#end !== undefined) {
            throw new Error(`It ended with ${this.#end.signal ?? `code ${this.#end.code}`}`)
          }
          return found
        },
        patience,
      )
    } catch (error) {
      const excerpt = this.#output.slice(-excerptLengthMax)
      throw new Error(`${this.name}: ${what}\n${excerpt}`, { cause: error })
    }
  }

  /** Waits for output that matches; what came before counts too. Gives the match. */
  async untilOutput(pattern: RegExp, patience: Patience = {}): Promise<RegExpExecArray> {
    return this.until(`output ${pattern}`, () => pattern.exec(this.#output) ?? undefined, patience)
  }

  /** Ends it in good order: SIGTERM, and SIGKILL when that does not help. */
  async stop(): Promise<Ended> {
    return this.#endBy('SIGTERM')
  }

  /** Ends it at once, as a crash would. */
  async kill(): Promise<Ended> {
    return this.#endBy('SIGKILL')
  }

  /** Stops it without ending it: its connections stay and say nothing. */
  pause(): void {
    this.#process.kill('SIGSTOP')
  }

  /** The opposite of `pause()`. */
  resume(): void {
    this.#process.kill('SIGCONT')
  }

  async #endBy(signal: 'SIGTERM' | 'SIGKILL'): Promise<Ended> {
    if (this.#end === undefined) {
      this.#process.kill(signal)
      this.#process.kill('SIGCONT')
    }
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), stopTimeoutMs)
    try {
      return await this.#ended
    } finally {
      clearTimeout(timer)
    }
  }

  #onOutput(text: string): void {
    appendFileSync(this.logPath, text)
    this.#output = (this.#output + text).slice(-outputLengthMax)
  }

  async #untilEnd(): Promise<Ended> {
    const [code, signal] = (await once(this.#process, 'close')) as [
      number | null,
      NodeJS.Signals | null,
    ]
    this.#guard.kill('SIGKILL')
    this.#end = { code, signal }
    return this.#end
  }
}

/** A shell that waits for the end of this process, which closes its standard input, and then kills the program. The program's end ends it too. */
function guard(pid: number | undefined): ChildProcess {
  const script = 'read -r _; kill -9 "$1" 2>/dev/null'
  const shell = spawn('/bin/sh', ['-c', script, 'guard', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // So that a Ctrl-C for the test does not end the guard before its work.
    detached: true,
  })
  shell.unref()
  return shell
}

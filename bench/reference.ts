import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { projectRoot } from '../test/support/project-root.ts'

/** The C programs, in `bench/reference`. */
export type ReferenceName = 'transfer' | 'origin' | 'serving'

/** Called when nothing else is said by `CC`. */
const compilerDefault = 'cc'
/** They need nothing but a C library. */
const compilerArguments = ['-O2', '-Wall', '-Wextra', '-Wno-unused-function', '-pthread']

/**
 * Path of a C program, compiled now unless a newer one than its sources lies beside this script.
 *
 * @throws Error that says what is missing
 */
export function compiled(name: ReferenceName): string {
  const sources = join(projectRoot(), 'bench/reference')
  const source = join(sources, `${name}.c`)
  const path = join(dirname(fileURLToPath(import.meta.url)), 'reference', name)
  const newest = [source, join(sources, 'common.h'), join(sources, 'crc32.h')]
    .map((each) => statSync(each).mtimeMs)
    .reduce((one, other) => Math.max(one, other))
  if (existsSync(path) && statSync(path).mtimeMs > newest) return path
  mkdirSync(dirname(path), { recursive: true })
  const compiler = process.env['CC'] ?? compilerDefault
  const made = spawnSync(compiler, [...compilerArguments, '-o', path, source], { encoding: 'utf8' })
  if (made.error !== undefined) {
    throw new Error(`There is no C compiler ${compiler} here for the reference programs`, {
      cause: made.error,
    })
  }
  if (made.status !== 0) throw new Error(`${compiler} failed for ${name}.c:\n${made.stderr}`)
  return path
}

/** Runs a C program to its end. Gives the line of JSON that it prints. */
export async function ran<T>(name: ReferenceName, args: readonly string[]): Promise<T> {
  const { stdout } = await promisify(execFile)(compiled(name), [...args])
  return JSON.parse(stdout) as T
}

/** What `transfer` prints. */
export interface Transferred {
  readonly bytes: number
  readonly seconds: number
  /** Of both sides. */
  readonly cpuSeconds: number
  readonly childPeakBytes: number
  readonly parentPeakBytes: number
}

/** A C program that serves until it is told to end. */
export class Served implements AsyncDisposable {
  readonly port: number
  readonly #process: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#process = child
    this.port = port
  }

  /** Starts it and waits for its port. */
  static async start(name: ReferenceName, args: readonly string[]): Promise<Served> {
    const child = spawn(compiled(name), ['serve', ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdout.setEncoding('utf8')
    const ended = once(child, 'exit').then(() => {
      throw new Error(`${name} ended`)
    })
    // Only its beginning is waited for here.
    ended.catch(() => undefined)
    const [line] = (await Promise.race([once(child.stdout, 'data'), ended])) as [string]
    return new Served(child, (JSON.parse(line) as { readonly port: number }).port)
  }

  /** Of the process. */
  get pid(): number {
    return this.#process.pid ?? -1
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null) return
    const exited = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exited
  }
}

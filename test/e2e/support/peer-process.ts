import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { PeerOptions, SeedOptions, TaskInfo, WriteOptions } from '../../../src/index.ts'
import { cleanup, type Ending } from '../../support/cleanup.ts'
import { tempFolder } from '../../support/temp-folder.ts'
import type {
  Asked,
  CommandName,
  Commands,
  Downloaded,
  PlainDownloadOptions,
  Told,
} from './command.ts'

/** Milliseconds in which a process whose peer is closed has to exit by itself. */
const exitTimeoutMs = 10_000

/** A failure in a peer process. */
export class RemoteError extends Error {
  /** Code of the `PeerError`, else the name of the error's class. */
  readonly code: string

  constructor(code: string, message: string) {
    super(`${code}: ${message}`)
    this.name = 'RemoteError'
    this.code = code
  }
}

interface Waiting {
  readonly resolve: (answer: never) => void
  readonly reject: (error: Error) => void
  readonly onProgress: ((bytes: number) => void) | undefined
}

/** A peer in a process of its own. It is killed at the end of the test if it still runs. */
export class PeerProcess {
  /** Folder for the peer's store and whatever the test wants to put there; removed at the end of the test. */
  readonly folder: string
  readonly #process: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #last = 0
  #facts: Commands['start']['answer'] = { address: '', hostId: '', schedulerAddress: '' }

  private constructor(folder: string) {
    this.folder = folder
    this.#process = fork(fileURLToPath(new URL('./peer-child.js', import.meta.url)), {
      execArgv: ['--enable-source-maps'],
    })
    this.#process.on('message', (told: Told) => this.#onTold(told))
    this.#process.on('exit', (code, signal) => {
      this.#fail(new Error(`The peer process ended with ${signal ?? `code ${code}`}`))
    })
  }

  /** Starts a process and the peer in it. The store lies in `folder` unless the options say otherwise. */
  static async start(
    t: Ending,
    options: PeerOptions = {},
    folder: string = tempFolder(t),
  ): Promise<PeerProcess> {
    const made = new PeerProcess(folder)
    cleanup(t, () => made.kill())
    const store = { dir: join(folder, 'store') }
    made.#facts = await made.#ask('start', { options: { store, ...options } })
    return made
  }

  /** Address by which other peers join. */
  get schedulerAddress(): string {
    return this.#facts.schedulerAddress
  }

  /** Of the upload service. */
  get address(): string {
    return this.#facts.address
  }

  /** Downloads to a path, or into memory without one, and hashes what came. */
  async download(
    target: string | { readonly task: string },
    path?: string,
    options: PlainDownloadOptions = {},
    onProgress?: (bytes: number) => void,
  ): Promise<Downloaded> {
    const ask = { target, options, ...(path === undefined ? {} : { path }) }
    return this.#ask('download', ask, onProgress)
  }

  /** Downloads into the peer's store. */
  async keep(
    target: string | { readonly task: string },
    options: PlainDownloadOptions = {},
  ): Promise<TaskInfo> {
    return this.#ask('keep', { target, options })
  }

  /** `Peer.write()` of a file. */
  async write(path: string, options: WriteOptions = {}): Promise<TaskInfo> {
    return this.#ask('write', { path, options })
  }

  /** `Peer.seed()`. */
  async seed(path: string, options: SeedOptions): Promise<TaskInfo> {
    return this.#ask('seed', { path, options })
  }

  /** `Peer.explain()`. */
  async explain(): Promise<Record<string, unknown>> {
    return this.#ask('explain', {})
  }

  /** Peak of the resident memory of the process. */
  async memory(): Promise<{ readonly peakBytes: number }> {
    return this.#ask('memory', {})
  }

  /** Closes the peer. Fails when it leaves something open, or when the process does not exit by itself. */
  async close(): Promise<void> {
    const exited = once(this.#process, 'exit')
    await this.#ask('close', {})
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), exitTimeoutMs)
    const [code, signal] = (await exited) as [number | null, string | null]
    clearTimeout(timer)
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, 'The process exits by itself')
  }

  /** Ends the process at once, as a crash would. */
  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exited = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exited
  }

  async #ask<N extends CommandName>(
    name: N,
    ask: Commands[N]['ask'],
    onProgress?: (bytes: number) => void,
  ): Promise<Commands[N]['answer']> {
    const number = ++this.#last
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject, onProgress })
      const asked: Asked = { number, name, ask }
      this.#process.send(asked, (error) => {
        if (error !== null) this.#fail(error)
      })
    })
  }

  #onTold(told: Told): void {
    const waiting = this.#waiting.get(told.number)
    if (told.is === 'progress') {
      waiting?.onProgress?.(told.bytes)
      return
    }
    this.#waiting.delete(told.number)
    if (told.is === 'answer') waiting?.resolve(told.answer as never)
    else waiting?.reject(new RemoteError(told.code, told.message))
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}

import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { PeerOptions } from 'dragonfly-peer'
import type { Settings } from './benchmark.ts'
import type { Sample } from './interleaved.ts'
import { Meter } from './meter.ts'
import { PeerProcess } from './peer-process.ts'

/** The URL of what parents publish. Nobody answers there. */
const url = 'https://bench.invalid/content'

/** What a swarm consists of. */
export interface SwarmOptions {
  readonly parents: number
  /** Parents have the content in memory, written into the network, not in a file. */
  readonly held?: boolean
  /** The content. */
  readonly source: string
  /** Who schedules. @defaultValue the first parent, with its embedded scheduler */
  readonly scheduler?: string
}

/** Moments of a download. */
export interface Moments {
  /** The first piece is kept. */
  readonly onBegun?: () => void
  /** All is there. */
  readonly onEnd?: () => void
}

/** Parents with content and a process for children, one process each. */
export class Swarm implements AsyncDisposable {
  /** Every parent. */
  readonly parents: readonly PeerProcess[]
  /** Where the children run. */
  readonly child: PeerProcess
  readonly #folder: string
  readonly #length: number
  #scheduler = ''
  #target: string | { readonly task: string } = url

  private constructor({ folder }: Settings, { parents, source }: SwarmOptions) {
    this.#folder = folder
    this.#length = statSync(source).size
    this.child = new PeerProcess()
    this.parents = Array.from({ length: parents }, () => new PeerProcess())
  }

  /** Starts all processes and publishes the content. */
  static async start(settings: Settings, options: SwarmOptions): Promise<Swarm> {
    const made = new Swarm(settings, options)
    try {
      await made.#publish(options)
      return made
    } catch (error) {
      await made[Symbol.asyncDispose]()
      throw error
    }
  }

  /** By which others join. */
  get scheduler(): string {
    return this.#scheduler
  }

  /** A new child downloads everything, and what it kept is removed. */
  async download(to: 'file' | 'memory', { onBegun, onEnd }: Moments = {}): Promise<Sample> {
    const { child } = this
    const all = [child, ...this.parents]
    const [store, output] = [this.#path('child'), this.#path('output')]
    const kept = to === 'file' ? ({ dir: store } as const) : 'memory'
    const options: PeerOptions = { scheduler: this.#scheduler, store: kept }
    await child.ask({ is: 'start', peer: 'child', options })
    const meter = new Meter(all.map(({ pid }) => pid))
    const childMeter = new Meter([child.pid])
    childMeter.resetPeaks()
    for (const each of all) await each.ask({ is: 'watch' })
    const before = meter.cpuSeconds()
    const { seconds } = await child.ask(
      {
        is: 'download',
        peer: 'child',
        target: this.#target,
        backToSource: 'never',
        tellBegin: onBegun !== undefined,
        ...(to === 'file' ? { path: output } : {}),
      },
      onBegun,
    )
    onEnd?.()
    const cpuSeconds = meter.cpuSeconds() - before
    const peakBytes = childMeter.peakBytes()
    let turnMs = 0
    for (const each of all) {
      turnMs = Math.max(turnMs, (await each.ask({ is: 'watched' })).longestTurnMs)
    }
    await child.ask({ is: 'close', peer: 'child' })
    for (const path of [store, output]) rmSync(path, { recursive: true, force: true })
    return { bytes: this.#length, seconds, cpuSeconds, peakBytes, turnMs }
  }

  /** Ends all processes and removes what parents kept. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of [this.child, ...this.parents]) await each[Symbol.asyncDispose]()
    for (const name of ['child', 'output', ...this.parents.keys()].map(String)) {
      rmSync(this.#path(name), { recursive: true, force: true })
    }
  }

  async #publish({ held = false, source, scheduler }: SwarmOptions): Promise<void> {
    this.#scheduler = scheduler ?? ''
    for (const [number, parent] of this.parents.entries()) {
      const options: PeerOptions = {
        store: held ? 'memory' : { dir: this.#path(String(number)) },
        ...(this.#scheduler === '' ? {} : { scheduler: this.#scheduler }),
      }
      const started = await parent.ask({ is: 'start', peer: 'parent', options })
      if (this.#scheduler === '') this.#scheduler = started.scheduler
      if (held) {
        const { task } = await parent.ask({ is: 'write', peer: 'parent', path: source })
        this.#target = { task }
      } else {
        await parent.ask({ is: 'seed', peer: 'parent', url, path: source })
      }
    }
  }

  #path(name: string): string {
    return join(this.#folder, `swarm-${name}`)
  }
}

/** From an HTTP origin, which is a C program that is no bottleneck. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Benchmark, Settings } from './benchmark.ts'
import { interleaved, type Sample } from './interleaved.ts'
import { Meter } from './meter.ts'
import { PeerProcess } from './peer-process.ts'
import { ran, Served } from './reference.ts'
import { sourceFile } from './source-file.ts'
import { gibibyte, mebibyte } from './statistics.ts'
import { transferRows } from './transfer-rows.ts'

/** As long as what comes from parents. */
const lengthToFile = { thorough: 2 * gibibyte, quick: 64 * mebibyte }
/** `fetch()` takes seconds and several times the memory for a gibibyte. */
const lengthToMemory = { thorough: 256 * mebibyte, quick: 32 * mebibyte }

/** Beside a C program that gets it by one request. */
export const originFile: Benchmark = {
  name: 'origin-file',
  about: 'the content of an origin becomes a file',
  run: async (settings) => {
    const source = sourceFile(settings, lengthOf(settings, lengthToFile))
    await using origin = await Served.start('origin', [source])
    await using alone = new Alone(settings, origin)
    const samples = await interleaved(settings, {
      ours: async () => alone.download('file'),
      theirs: async () => alone.got(),
    })
    return transferRows({
      name: 'origin to a file',
      reference: 'C: GET, recv + crc32 + pwrite',
      ...samples,
      goal: { is: 'at least', ratio: 0.9 },
      peakBytesMax: 128 * mebibyte,
    })
  },
}

/** Beside `fetch()`. */
export const originMemory: Benchmark = {
  name: 'origin-memory',
  about: 'the content of an origin becomes one array in memory',
  run: async (settings) => {
    const source = sourceFile(settings, lengthOf(settings, lengthToMemory))
    await using origin = await Served.start('origin', [source])
    await using alone = new Alone(settings, origin)
    const samples = await interleaved(settings, {
      ours: async () => alone.download('memory'),
      theirs: async () => alone.fetched(),
    })
    return transferRows({
      name: 'origin to memory',
      reference: 'fetch().arrayBuffer()',
      ...samples,
      goal: { is: 'at least', ratio: 1 },
      cpuGoal: { is: 'at most', ratio: 1 },
    })
  },
}

/** A process that downloads from an origin alone. The processor time of the origin counts too. */
class Alone implements AsyncDisposable {
  readonly #origin: Served
  readonly #process = new PeerProcess()
  readonly #store: string
  readonly #output: string

  constructor({ folder }: Settings, origin: Served) {
    this.#origin = origin
    this.#store = join(folder, 'alone')
    this.#output = join(folder, 'output')
  }

  async download(to: 'file' | 'memory'): Promise<Sample> {
    const store = to === 'file' ? ({ dir: this.#store } as const) : 'memory'
    await this.#process.ask({ is: 'start', peer: 'alone', options: { store } })
    const sample = await this.#measured(async () => {
      const order = { is: 'download', peer: 'alone', target: this.#url } as const
      const path = this.#output
      return this.#process.ask(to === 'file' ? { ...order, path } : order)
    })
    await this.#process.ask({ is: 'close', peer: 'alone' })
    this.#remove()
    return sample
  }

  async fetched(): Promise<Sample> {
    const sample = await this.#measured(async () =>
      this.#process.ask({ is: 'fetch', url: this.#url }),
    )
    await this.#process.ask({ is: 'collect' })
    return sample
  }

  async got(): Promise<Sample> {
    const meter = new Meter([this.#origin.pid])
    const before = meter.cpuSeconds()
    const args = ['get', String(this.#origin.port), this.#output]
    const { cpuSeconds, ...sample } = await ran<Sample>('origin', args)
    this.#remove()
    return { ...sample, cpuSeconds: cpuSeconds + meter.cpuSeconds() - before }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]()
    this.#remove()
  }

  get #url(): string {
    return `http://127.0.0.1:${this.#origin.port}/content`
  }

  async #measured(work: () => Promise<{ readonly seconds: number }>): Promise<Sample> {
    const bytes = await this.#length()
    const child = new Meter([this.#process.pid])
    const all = new Meter([this.#process.pid, this.#origin.pid])
    child.resetPeaks()
    await this.#process.ask({ is: 'watch' })
    const before = all.cpuSeconds()
    const { seconds } = await work()
    const cpuSeconds = all.cpuSeconds() - before
    const peakBytes = child.peakBytes()
    const { longestTurnMs: turnMs } = await this.#process.ask({ is: 'watched' })
    return { bytes, seconds, cpuSeconds, peakBytes, turnMs }
  }

  async #length(): Promise<number> {
    const answer = await fetch(this.#url, { method: 'HEAD' })
    return Number(answer.headers.get('content-length'))
  }

  #remove(): void {
    for (const path of [this.#store, this.#output]) rmSync(path, { recursive: true, force: true })
  }
}

function lengthOf(
  { bytes, quick }: Settings,
  lengths: { readonly thorough: number; readonly quick: number },
): number {
  return bytes ?? (quick ? lengths.quick : lengths.thorough)
}

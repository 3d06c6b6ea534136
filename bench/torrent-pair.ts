import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Sample } from './interleaved.ts'
import { Meter } from './meter.ts'
import type { TorrentAnswer, TorrentOrder } from './webtorrent-peer.ts'

/** Two processes with webtorrent: one has a file, the other downloads it. */
export class TorrentPair implements AsyncDisposable {
  readonly #seeder = start()
  readonly #leecher = start()
  readonly #folder: string
  readonly #length: number
  #seeded: TorrentAnswer | undefined

  private constructor(folder: string, length: number) {
    this.#folder = join(folder, 'webtorrent')
    this.#length = length
  }

  /** Starts both and seeds the file. */
  static async start(folder: string, source: string): Promise<TorrentPair> {
    const made = new TorrentPair(folder, statSync(source).size)
    made.#seeded = await ask(made.#seeder, { is: 'seed', path: source })
    return made
  }

  /** A new client downloads everything, and what it wrote is removed. */
  async download(): Promise<Sample> {
    if (this.#seeded === undefined) throw new Error('Nothing is seeded')
    const { torrent, port } = this.#seeded
    const meter = new Meter([this.#seeder.pid ?? -1, this.#leecher.pid ?? -1])
    const leecher = new Meter([this.#leecher.pid ?? -1])
    leecher.resetPeaks()
    const before = meter.cpuSeconds()
    const order = { is: 'download', torrent, folder: this.#folder, port } as const
    const { seconds } = await ask(this.#leecher, order)
    const cpuSeconds = meter.cpuSeconds() - before
    return { bytes: this.#length, seconds, cpuSeconds, peakBytes: leecher.peakBytes() }
  }

  /** Ends both. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of [this.#seeder, this.#leecher]) {
      if (each.exitCode !== null || each.signalCode !== null) continue
      const exited = once(each, 'exit')
      each.kill('SIGKILL')
      await exited
    }
  }
}

function start(): ChildProcess {
  return fork(fileURLToPath(new URL('./webtorrent-peer.js', import.meta.url)))
}

async function ask(child: ChildProcess, order: TorrentOrder): Promise<TorrentAnswer> {
  const gone = new AbortController()
  const { signal } = gone
  const ended = once(child, 'exit', { signal }).then((how) => {
    throw new Error(`Webtorrent ended: ${how.join(' ')}`)
  })
  const answered = once(child, 'message', { signal })
  // Only the one that comes first counts.
  for (const each of [ended, answered]) each.catch(() => undefined)
  child.send(order)
  try {
    const [answer] = await Promise.race([answered, ended])
    return answer as TorrentAnswer
  } finally {
    gone.abort()
  }
}

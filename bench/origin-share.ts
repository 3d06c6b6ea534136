/** Many peers want the same new content at the same moment. How much of it does the origin send? */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Benchmark } from './benchmark.ts'
import { PeerProcess } from './peer-process.ts'
import { Served } from './reference.ts'
import { sourceFile } from './source-file.ts'
import { bounded, mebibyte } from './statistics.ts'

const scale = {
  thorough: { length: 64 * mebibyte, processes: 4, peers: 16 },
  quick: { length: 8 * mebibyte, processes: 4, peers: 4 },
}
/** Times the content. */
const shareMax = 1.05

/** See above. One more peer runs the scheduler and is the seed. */
export const originShare: Benchmark = {
  name: 'origin-share',
  about: 'bytes that an origin sends to 64 peers that start together',
  run: async (settings) => {
    const { length, processes, peers } = settings.quick ? scale.quick : scale.thorough
    const source = sourceFile(settings, settings.bytes ?? length)
    const dir = join(settings.folder, 'share')
    await using origin = await Served.start('origin', [source])
    await using seed = new PeerProcess()
    const { scheduler } = await seed.ask({
      is: 'start',
      peer: 'seed',
      options: { seedPeer: true, store: { dir: join(dir, 'seed') } },
    })
    await using group = new Group(processes)
    const url = `http://127.0.0.1:${origin.port}`
    const seconds = await group.download({ scheduler, target: `${url}/content`, dir, peers })
    const bytes = Number(await (await fetch(`${url}/counted`)).text())
    rmSync(dir, { recursive: true, force: true })
    const count = processes * peers
    settings.say(`${count} peers after ${seconds.toFixed(1)} s`)
    return [
      bounded({
        name: `origin bytes for ${count} peers that start together`,
        unit: '× the file',
        values: [bytes / (settings.bytes ?? length)],
        max: shareMax,
        note: `${count} peers in ${processes} processes, and a seed peer with the scheduler; all done after ${seconds.toFixed(1)} s`,
      }),
    ]
  },
}

/** Processes with many peers each. */
class Group implements AsyncDisposable {
  readonly #processes: readonly PeerProcess[]

  constructor(count: number) {
    this.#processes = Array.from({ length: count }, () => new PeerProcess())
  }

  /** All peers of all processes start, and then download at once. Gives the seconds until the last one is done. */
  async download(order: {
    readonly scheduler: string
    readonly target: string
    readonly dir: string
    /** In each process. */
    readonly peers: number
  }): Promise<number> {
    const { scheduler, target, dir, peers } = order
    const each = async (process: PeerProcess, number: number): Promise<void> => {
      for (let at = 0; at < peers; at += 1) {
        const store = { dir: join(dir, `${number}-${at}`) }
        await process.ask({ is: 'start', peer: String(at), options: { scheduler, store } })
      }
    }
    await Promise.all(this.#processes.map(each))
    const begun = performance.now()
    await Promise.all(
      this.#processes.map(async (process) => process.ask({ is: 'keep together', target })),
    )
    return (performance.now() - begun) / 1000
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#processes) await process[Symbol.asyncDispose]()
  }
}

import { join } from 'node:path'
import { Peer } from '../../src/index.ts'
import { PeerError } from '../../src/errors.ts'
import { type PeerItem, peerBytesMax, peerContent } from './items.ts'
import type { Random } from './random.ts'
import { Wrong } from './wrong.ts'

/** Times that a life starts its peer. */
const rounds = 2
/** Works between two restarts. */
const worksPerRound = 5

/** The peer of a life: its own scheduler, its own store, which is too small. */
export function startPeer(root: string): Promise<Peer> {
  return Peer.start({
    listen: { ip: '127.0.0.1' },
    host: { ip: '127.0.0.1' },
    store: { dir: join(root, 'store'), bytesMax: peerBytesMax },
  })
}

/** What an application does with a peer, in an order that chance decides. */
export class PeerLife {
  readonly #root: string
  readonly #random: Random
  readonly #origin: string
  readonly #believing: boolean
  #peer: Peer | undefined

  /** @param believing - what comes out must be good; false where writes get lost on purpose */
  constructor(
    root: string,
    random: Random,
    { origin, believing }: { readonly origin: string; readonly believing: boolean },
  ) {
    this.#root = root
    this.#random = random
    this.#origin = origin
    this.#believing = believing
  }

  /** Lives to the end, unless it is killed before. */
  async run(onOpen: () => void): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      this.#peer = await startPeer(this.#root)
      if (round === 0) onOpen()
      let left = worksPerRound
      const next = async (): Promise<void> => {
        while (left-- > 0) await this.#work()
      }
      await Promise.all([next(), next()])
      await this.#peer.close()
    }
  }

  get #opened(): Peer {
    if (this.#peer === undefined) throw new Error('The peer is not open')
    return this.#peer
  }

  async #work(): Promise<void> {
    const name = this.#random.of(['c0', 'c1', 'c2'] as const)
    const works = [
      () => this.#toFile(name),
      () => this.#toFile(name),
      () => this.#range(name),
      () => this.#read(name),
      () => this.#write(),
      () => this.#seed(),
    ]
    try {
      await this.#random.of(works)()
    } catch (error) {
      // What several works at once, and the small store, may lead to. Where writes get lost, anything may be noticed.
      const expected = ['NO_SPACE', 'OUTPUT_EXISTS', 'TASK_NOT_FOUND'] as const
      if (!PeerError.is(error, ...(this.#believing ? expected : []))) throw error
    }
  }

  async #toFile(name: PeerItem): Promise<void> {
    const path = join(this.#root, 'out', `${name}-${this.#random.below(2)}`)
    const download = this.#opened.download(`${this.#origin}/${name}`)
    await download.toFile(path, { overwrite: this.#random.oneIn(2) })
  }

  async #range(name: PeerItem): Promise<void> {
    const path = join(this.#root, 'out', `range-${name}`)
    const range = { start: 1000, length: 600_000 }
    const download = this.#opened.download(`${this.#origin}/${name}`, { range })
    await download.toFile(path, { overwrite: this.#random.oneIn(2) })
  }

  async #read(name: PeerItem): Promise<void> {
    const content = peerContent(name)
    let at = 0
    for await (const chunk of this.#opened.download(`${this.#origin}/${name}`)) {
      const wrong = content.difference(chunk, at)
      if (wrong !== undefined && this.#believing) {
        throw new Wrong('wrong bytes', `${name} differs at ${wrong}`)
      }
      at += chunk.length
    }
  }

  async #write(): Promise<void> {
    await this.#opened.write(peerContent('written').bytes(), { tag: 'written' })
  }

  async #seed(): Promise<void> {
    const url = `${this.#origin}/seeded`
    const seeding = await this.#opened.seed(join(this.#root, 'in', 'seeded'), { url })
    if (this.#random.oneIn(2)) await seeding.stop()
  }
}

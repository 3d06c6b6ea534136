import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Peer, type PeerOptions, tcp } from '../../src/index.ts'
import { Origin } from '../support/origin.ts'

const mib = 1024 * 1024

/** Lengths of what the origins serve: less than a piece, a piece and a part, several. */
const lengths = [100_000, 5 * mib, 9 * mib + 1] as const
/** Peers beside the one with the scheduler. */
const peerCount = 4
/** Small enough that the collection has something to do. */
const storeBytesMax = 96 * mib

/** Peers, a scheduler and origins in this process, with folders of their own. */
export class SoakSwarm {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'dragonfly-peer-soak-'))
  readonly origins: Origin[] = []
  /** The first one runs the scheduler. */
  readonly peers: Peer[] = []
  #schedulerPort = 0

  /** Starts everything. */
  static async start(): Promise<SoakSwarm> {
    const swarm = new SoakSwarm()
    for (const [at, length] of lengths.entries()) {
      const made = new Origin({ length, seed: 1 + at })
      await made.listen()
      swarm.origins.push(made)
    }
    for (let at = 0; at <= peerCount; at++) swarm.peers.push(await swarm.#start(at))
    return swarm
  }

  /** Ends a peer, in one way or the other, and starts it again on the same folder. The first one takes the scheduler with it. */
  async restart(at: number, gracefully: boolean): Promise<void> {
    const peer = this.peers[at]
    if (peer === undefined) throw new RangeError(`There is no peer ${at}`)
    await (gracefully ? peer.close() : peer.destroy())
    this.peers[at] = await this.#start(at)
  }

  /** Path of the socket of a peer. */
  socketOf(at: number): string {
    return join(this.folder, `${at}.sock`)
  }

  /** Whether nobody is doing anything. */
  get atRest(): boolean {
    return this.peers.every((peer) => {
      const { tasks } = peer.explain() as { readonly tasks: readonly unknown[] }
      return tasks.length === 0
    })
  }

  /** Forgets what the origins noted: it is the test that would grow. */
  forget(): void {
    for (const { requests } of this.origins) requests.length = 0
  }

  /** Ends everything; folders go. */
  async close(): Promise<void> {
    await Promise.all(this.peers.toReversed().map((peer) => peer.close()))
    for (const each of this.origins) await each.close()
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #start(at: number): Promise<Peer> {
    const options: PeerOptions = {
      store: { dir: join(this.folder, `store-${at}`), bytesMax: storeBytesMax },
      socketPath: this.socketOf(at),
      seedPeer: at === 1,
      transports: [tcp()],
      host: { ip: '127.0.0.1', hostname: `soak-${at}` },
    }
    if (at > 0) {
      return Peer.start({ ...options, scheduler: `127.0.0.1:${this.#schedulerPort}` })
    }
    const first = await Peer.start({ ...options, listen: { schedulerPort: this.#schedulerPort } })
    this.#schedulerPort = Number(first.schedulerAddress.split(':').at(-1))
    return first
  }
}

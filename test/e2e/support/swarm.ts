import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { PeerOptions } from '../../../src/index.ts'
import type { Ending } from '../../support/cleanup.ts'
import type { Origin } from '../../support/origin.ts'
import type { Downloaded, PlainDownloadOptions } from './command.ts'
import { PeerProcess } from './peer-process.ts'

/** What an origin may send when several peers start together, as a multiple of the content. */
export const originShareMax = 1.05

/** A seed peer with the scheduler, and peers that joined it, each in a process of its own. */
export class Swarm {
  /** Runs the scheduler. */
  readonly seed: PeerProcess
  readonly others: readonly PeerProcess[]

  private constructor(seed: PeerProcess, others: readonly PeerProcess[]) {
    this.seed = seed
    this.others = others
  }

  /** @param count - peers beside the seed */
  static async start(t: Ending, count: number, options: PeerOptions = {}): Promise<Swarm> {
    const seed = await PeerProcess.start(t, { ...options, seedPeer: true })
    const { schedulerAddress: scheduler } = seed
    const others = Array.from({ length: count }, async () =>
      PeerProcess.start(t, { ...options, scheduler }),
    )
    return new Swarm(seed, await Promise.all(others))
  }

  /** The others download at the same time, each to a file of this name. */
  async download(
    url: string,
    name: string,
    options: PlainDownloadOptions = {},
  ): Promise<Downloaded[]> {
    return Promise.all(
      this.others.map(async (peer) => peer.download(url, join(peer.folder, name), options)),
    )
  }

  /** Closes all peers, the scheduler last; every process has to exit by itself. */
  async close(): Promise<void> {
    await Promise.all(this.others.map(async (peer) => peer.close()))
    await this.seed.close()
  }
}

/** Fails unless every copy is the origin's content, and the figures of each download add up. */
export function assertCopies(copies: readonly Downloaded[], served: Origin): void {
  const { length } = served.content
  const sha256 = served.content.sha256()
  for (const copy of copies) {
    assert.deepEqual({ length: copy.length, sha256: copy.sha256 }, { length, sha256 })
    const { source, peers, local } = copy.info.traffic
    assert.equal(source + peers + local, length, `${source} + ${peers} + ${local}`)
  }
}

/** Fails when the origin sent more than its share. What only asked about the content does not count. */
export function assertOriginShare(served: Origin): void {
  const sent = contentBytes(served)
  const max = Math.floor(served.content.length * originShareMax)
  assert.ok(sent <= max, `The origin sent ${sent} bytes, ${max} are allowed`)
}

/** Bytes of content that the origin sent to those who wanted content. */
export function contentBytes(served: Origin): number {
  return served.requests
    .filter(({ kind }) => kind !== 'stat')
    .reduce((sum, { bytes }) => sum + bytes, 0)
}

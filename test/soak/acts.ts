import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ConnectError, createClient } from '@connectrpc/connect'
import { type Peer, PeerError } from '../../src/index.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import { DfdaemonDownload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import type { Random } from '../crash/random.ts'
import { Content } from '../support/content.ts'
import type { Origin } from '../support/origin.ts'
import { verifyBytes, verifyFile, verifyStream } from '../support/verify.ts'
import type { SoakSwarm } from './swarm.ts'

const mib = 1024 * 1024

/** What was done, by name. */
export type Counts = Record<string, number>

/** Does one thing by chance, compares what comes, and says its name. A failure that the churn explains is one of the names. */
export class Acts {
  readonly #swarm: SoakSwarm
  readonly #random: Random
  #number = 0

  constructor(swarm: SoakSwarm, random: Random) {
    this.#swarm = swarm
    this.#random = random
  }

  /** One act. */
  async act(): Promise<string> {
    const number = this.#number++
    const kinds = [
      ...['bytes', 'bytes', 'file', 'file', 'stream', 'chunks', 'range', 'cancel', 'cancel'],
      ...['write', 'seed', 'delete'],
    ] as const
    const kind = this.#random.of(kinds)
    const { peers, origins } = this.#swarm
    const from = this.#random.of(origins)
    const url = from.urlOf(`/${this.#random.below(6)}`)
    const at = this.#random.below(peers.length)
    const peer = peers[at]
    const other = this.#random.of(peers)
    assert.ok(peer !== undefined)
    try {
      if (kind === 'write') await this.#write(peer, other)
      else if (kind === 'seed') await this.#seed(peer, other, number)
      else if (kind === 'delete') await this.#delete(at)
      else await this.#download(kind, peer, url, from, number)
      return kind
    } catch (error) {
      if (excused(error)) return `${kind} against the churn`
      throw error
    }
  }

  async #download(
    kind: 'bytes' | 'file' | 'stream' | 'chunks' | 'range' | 'cancel',
    peer: Peer,
    url: string,
    { content }: Origin,
    number: number,
  ): Promise<void> {
    switch (kind) {
      case 'bytes':
        return verifyBytes(await peer.download(url).bytes(), content)
      case 'stream':
        return verifyStream(peer.download(url).stream(), content)
      case 'chunks':
        return verifyStream(peer.download(url), content)
      case 'file': {
        const path = join(this.#swarm.folder, `out-${number}`)
        await peer.download(url).toFile(path)
        await verifyFile(path, content)
        return rm(path)
      }
      case 'range': {
        const start = this.#random.below(content.length)
        const length = 1 + this.#random.below(content.length - start)
        const bytes = await peer.download(url, { range: { start, length } }).bytes()
        assert.equal(bytes.length, length)
        return verifyBytes(bytes, content, start)
      }
      case 'cancel':
        return this.#cancel(peer, url)
    }
  }

  /** At its first piece, or before. */
  async #cancel(peer: Peer, url: string): Promise<void> {
    const controller = new AbortController()
    const reason = new Error('not wanted any more')
    const stop = (): void => controller.abort(reason)
    const { signal } = controller
    const pending = peer.download(url, { signal, onProgress: stop }).done
    if (this.#random.oneIn(2)) stop()
    // What lies here already comes before it can be cancelled.
    await pending.catch((error: unknown) => {
      if (error !== reason) throw error
    })
  }

  async #write(peer: Peer, other: Peer): Promise<void> {
    const content = new Content(mib + 1, 100 + this.#random.below(6))
    const { id } = await peer.write(content.bytes(), { replicas: 1 + this.#random.below(2) })
    verifyBytes(await other.download({ task: id }).bytes(), content)
  }

  async #seed(peer: Peer, other: Peer, number: number): Promise<void> {
    const name = this.#random.below(4)
    const content = new Content(5 * mib + 7, 200 + name)
    const path = join(this.#swarm.folder, `model-${number}`)
    await writeFile(path, content.bytes())
    const url = `http://127.0.0.1:9/model-${name}`
    const seeding = await peer.seed(path, { url })
    try {
      verifyBytes(await other.download(url, { backToSource: 'never' }).bytes(), content)
    } finally {
      await seeding.stop()
      await rm(path)
    }
  }

  /** As a tool would, over the socket. */
  async #delete(at: number): Promise<void> {
    const channel = openChannel({ address: `unix:${this.#swarm.socketOf(at)}` })
    try {
      const client = createClient(DfdaemonDownload, channel)
      const { tasks } = await client.listLocalTasks({})
      const taskId = tasks[this.#random.below(tasks.length + 1)]?.taskId
      if (taskId !== undefined) await client.deleteLocalTask({ taskId })
    } finally {
      channel.close()
    }
  }
}

/** What restarts, deletions and a full store bring with them. Wrong bytes and internal faults are never excused. */
function excused(error: unknown): boolean {
  if (error instanceof ConnectError) return true
  return PeerError.is(
    error,
    'CLOSED',
    'NO_PARENTS',
    'TASK_NOT_FOUND',
    'SCHEDULER_UNAVAILABLE',
    'SCHEDULER_REFUSED',
    'NO_SPACE',
    'ORIGIN_UNREACHABLE',
    'FILE_CHANGED',
  )
}

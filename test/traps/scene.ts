import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { DownloadOptions, PeerOptions, TaskInfo } from '../../src/peer/options.ts'
import { Peer } from '../../src/peer/peer.ts'
import { cleanup } from '../support/cleanup.ts'
import type { OriginOptions } from '../support/origin-options.ts'
import { type Origin, origin } from '../support/origin.ts'
import { verifyBytes } from '../support/verify.ts'
import { GoScheduler } from './go-scheduler.ts'
import { RustParent } from './rust-parent.ts'

export const mib: number = 1024 * 1024

/** One piece. */
export const onePiece = 100_000
/** Two pieces, of 4 MiB and a little. */
export const twoPieces: number = 4 * mib + 1000

/** A peer of ours in a cluster of strangers: a Go scheduler, Rust parents and an origin, all made by hand. */
export interface Scene {
  readonly from: Origin
  readonly scheduler: GoScheduler
  readonly parents: readonly RustParent[]
  readonly peer: Peer
  /** Downloads everything, compares every byte, and says where it came from. */
  download(options?: DownloadOptions): Promise<TaskInfo>
}

/** What a scene is made of. */
export interface SceneOptions {
  readonly length?: number
  /** How many parents there are. @defaultValue `1` */
  readonly parents?: number
  /** What the scheduler does; see `GoScheduler.on`. @defaultValue names all parents, then orders to the origin */
  readonly on?: (parents: readonly RustParent[]) => GoScheduler['on']
  readonly peer?: PeerOptions
  readonly origin?: OriginOptions
}

/** Sets it up; all of it is gone when the test ends. */
export async function scene(t: TestContext, options: SceneOptions = {}): Promise<Scene> {
  const from = await origin(t, { length: options.length ?? onePiece, ...options.origin })
  const parents = await Promise.all(
    Array.from({ length: options.parents ?? 1 }, (_, at) =>
      RustParent.start(t, from.content, `parent-${at}`),
    ),
  )
  const on = options.on ?? namesAll
  const scheduler = await GoScheduler.start(t, on(parents))
  const peer = await startPeer(t, { scheduler: scheduler.address, ...options.peer })
  const download = async (how: DownloadOptions = {}): Promise<TaskInfo> => {
    const handle = peer.download(from.url, how)
    verifyBytes(await handle.bytes(), from.content)
    return handle.done
  }
  return { from, scheduler, parents, peer, download }
}

/** A peer that keeps everything in memory; it is gone when the test ends. */
export async function startPeer(t: TestContext, options: PeerOptions): Promise<Peer> {
  const peer = await Peer.start({ store: 'memory', ...options })
  cleanup(t, () => peer.destroy())
  return peer
}

/** Names all parents to whoever registers, and orders whoever wants others to the origin. */
export function namesAll(parents: readonly RustParent[]): GoScheduler['on'] {
  return (stream, { case: name }) => {
    if (name === 'registerPeerRequest') {
      stream.parents(...parents.map((parent) => parent.candidate()))
    } else if (name === 'reschedulePeerRequest') {
      stream.source()
    }
  }
}

/** Where the bytes came from. */
export function assertTraffic(
  info: TaskInfo,
  expected: { readonly source: number; readonly peers: number },
): void {
  const { source, peers } = info.traffic
  assert.deepEqual({ source, peers }, expected)
}

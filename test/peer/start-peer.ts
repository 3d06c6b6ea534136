import type { TestContext } from 'node:test'
import type { PeerOptions } from '../../src/peer/options.ts'
import { Peer } from '../../src/peer/peer.ts'
import { cleanup } from '../support/cleanup.ts'
import { tempFolder } from '../support/temp-folder.ts'

/** A peer that is closed when the test ends; its store lies in a folder of the test unless the options say otherwise. */
export async function startPeer(t: TestContext, options: PeerOptions = {}): Promise<Peer> {
  const peer = await Peer.start({ store: { dir: tempFolder(t) }, ...options })
  cleanup(t, () => peer.destroy())
  return peer
}

/** Looks again on each turn of the event loop until the fact holds, or fails after 10 s. */
export async function waitFor(fact: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!fact()) {
    if (performance.now() > deadline) throw new Error('It did not come to hold in 10 s')
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
}

/** Runs under way in this peer, as `explain()` tells them. */
export function runsOf(peer: Peer): readonly { readonly shares: number }[] {
  return (peer.explain() as { tasks: readonly { shares: number }[] }).tasks
}

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

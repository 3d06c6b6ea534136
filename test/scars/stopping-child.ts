/** A peer in a process of its own, for `StoppingPeer`: it downloads what it is told to, and serves it. */
import { Peer, type PeerOptions } from '../../src/index.ts'

process.on('message', (ask: { readonly options: PeerOptions; readonly url: string }) => {
  void keep(ask.options, ask.url)
})

async function keep(options: PeerOptions, url: string): Promise<void> {
  const peer = await Peer.start(options)
  await peer.download(url).done
  process.send?.('kept')
}

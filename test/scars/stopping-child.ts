/** A peer in a process of its own, for `StoppingPeer`: it downloads what it is told to, and serves it. */
import { subscribe } from 'node:diagnostics_channel'
import { Peer, type PeerOptions } from '../../src/index.ts'
import type { Told } from './stopping-peer.ts'

process.on('message', (ask: { readonly options: PeerOptions; readonly url: string }) => {
  void keep(ask.options, ask.url)
})

async function keep(options: PeerOptions, url: string): Promise<void> {
  let blamed = 0
  const blame = (): void => {
    blamed++
  }
  subscribe('dragonfly-peer:parent:dropped', blame)
  subscribe('dragonfly-peer:piece:failed', blame)
  let begun = false
  const onProgress = (): void => {
    if (!begun) tell({ is: 'begun' })
    begun = true
  }
  const peer = await Peer.start(options)
  tell({ is: 'started', scheduler: peer.schedulerAddress })
  const { traffic } = await peer.download(url, { onProgress }).done
  tell({ is: 'kept', source: traffic.source ?? 0, blamed })
}

function tell(told: Told): void {
  process.send?.(told)
}

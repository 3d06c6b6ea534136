/**
 * A parent in a process of its own: writes content into its memory, says who it is, and does as it is told.
 *
 *   fork('rdma-parent.js', [JSON.stringify({ scheduler, length, seed, library })])
 */
import { Peer } from '../../src/peer/peer.ts'
import { rdma } from '../../src/transport/rdma/rdma.ts'
import { tcp } from '../../src/transport/tcp/tcp.ts'
import { Content } from '../support/content.ts'

const { scheduler, length, seed, library } = JSON.parse(process.argv[2] ?? '{}') as {
  readonly scheduler: string
  readonly length: number
  readonly seed: number
  readonly library: string
}
const transports = [rdma({ library }), tcp()]
const peer = await Peer.start({ scheduler, store: 'memory', transports })
const { id } = await peer.write(new Content(length, seed).bytes(), { replicas: 1 })
process.on('message', (blockMs: number) => {
  process.send?.({ is: 'blocking' }, () => {
    const end = performance.now() + blockMs
    while (performance.now() < end) continue
    process.send?.({ is: 'back' })
  })
})
process.send?.({ is: 'ready', id, hostId: peer.hostId })

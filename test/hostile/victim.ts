/** A peer in a process of its own that is attacked: what it holds can be seen from outside. Says where it listens, and ends with its parent. */
import { Peer, tcp } from '../../src/index.ts'

const { url, dir, socketPath, stallTimeoutMs } = JSON.parse(process.argv[2] ?? '{}') as {
  readonly url: string
  readonly dir: string
  readonly socketPath: string
  readonly stallTimeoutMs: number
}

const peer = await Peer.start({
  store: { dir },
  socketPath,
  // What takes half a minute else shall take no test that long.
  transports: [tcp({ requestTimeoutMs: 1000, stallTimeoutMs })],
})
const { id } = await peer.download(url).done
const { host } = peer.explain() as { readonly host: { readonly tcpPort: number } }
process.once('disconnect', () => process.exit(0))
process.send?.({
  scheduler: peer.schedulerAddress,
  address: peer.address,
  tcpPort: host.tcpPort,
  task: id,
})

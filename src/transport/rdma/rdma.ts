import type { TransportFactory } from '../transport.ts'
import { loadAddon } from './addon.ts'
import { type RdmaOptions, rdmaSettings } from './options.ts'
import { probe, type RdmaProbe } from './probe.ts'
import { RdmaTransport } from './rdma-transport.ts'

export type { RdmaOptions } from './options.ts'
export type { RdmaDevice, RdmaDevicePort, RdmaGid, RdmaProbe } from './probe.ts'

/** Pieces over RDMA, and what this machine has for it. */
export interface Rdma {
  /**
   * Pieces over RDMA: read out of the memory of the parent straight into that of this process, by the network card. Both sides must name it; with anybody else,
   * and whenever it fails, the next transport takes over. Content that is downloaded into memory (`bytes()`, `into` with memory of `peer.allocate()`) is not
   * copied anywhere.
   *
   * A machine without RDMA is no failure: the hook `transport:changed` and `explain()` say why it is not used.
   *
   * @example
   * ```ts
   * import { Peer, rdma, tcp } from 'dragonfly-peer'
   *
   * await using peer = await Peer.start({ transports: [rdma(), tcp()] })
   * ```
   * @throws TypeError, RangeError for an option that does not exist or is out of its range
   */
  (options?: RdmaOptions): TransportFactory
  /**
   * Whether this machine can do it, and if not, why.
   *
   * @example
   * ```ts
   * import { rdma } from 'dragonfly-peer'
   *
   * const { supported, reason, devices } = await rdma.probe()
   * ```
   */
  probe(options?: Pick<RdmaOptions, 'library' | 'device' | 'port' | 'gidIndex'>): Promise<RdmaProbe>
}

/** See {@link Rdma}. Off unless it is named in `transports`. */
export const rdma: Rdma = Object.assign(
  (options?: RdmaOptions): TransportFactory => {
    const settings = rdmaSettings(options)
    return (host) => new RdmaTransport(() => loadAddon(), settings, host)
  },
  { probe: (options?: Parameters<typeof probe>[0]) => probe(options) },
)

import { type Channel, type ChannelTls, openChannel } from '../rpc/channel.ts'

/** Channels to other hosts that are kept open at most; the one not used for longest makes room. */
export const hostChannelsMax: number = 512

/**
 * Milliseconds between pings while calls run: a parent that was stopped or whose machine is gone ends no stream, and children would hope for it. Real daemons answer
 * any number; only Go servers punish pings, and no host runs one.
 */
const pingIntervalMs = 10_000

/** One gRPC channel for each host that this process talks to, made when first needed. */
export class HostChannels {
  readonly #channels = new Map<string, Channel>()
  readonly #own = new Map<string, Channel>()
  readonly #tls: { readonly tls?: ChannelTls }

  /** @param tls - what to show to other hosts, and what to trust; clear text without it */
  constructor(tls?: ChannelTls) {
    this.#tls = tls === undefined ? {} : { tls }
  }

  /** Calls to this address stay inside the process. */
  register(address: string, channel: Channel): void {
    this.#own.set(address, channel)
  }

  /** The channel to a host's upload service. */
  to(ip: string, port: number): Channel {
    const address = ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`
    const own = this.#own.get(address)
    if (own !== undefined) return own
    const known = this.#channels.get(address)
    // Moved to the end: the map is in order of last use.
    if (known !== undefined) this.#channels.delete(address)
    const channel =
      known ?? openChannel({ address, idleTimeoutMs: 30_000, pingIntervalMs, ...this.#tls })
    this.#channels.set(address, channel)
    if (this.#channels.size > hostChannelsMax) this.#evict()
    return channel
  }

  /** Ends every channel. */
  close(): void {
    for (const channel of this.#channels.values()) channel.close()
    for (const channel of this.#own.values()) channel.close()
    this.#channels.clear()
    this.#own.clear()
  }

  #evict(): void {
    const [oldest] = this.#channels
    if (oldest === undefined) return
    this.#channels.delete(oldest[0])
    oldest[1].close()
  }
}

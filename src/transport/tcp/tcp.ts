import type { ParentAddress, PieceRequest, Received, Slot } from '../../task/ports.ts'
import { closeTimeoutMsDefault, Lifetime } from '../lifetime.ts'
import type { Transport, TransportFactory, TransportHost } from '../transport.ts'
import { tcpAddress } from './address.ts'
import { TcpClient } from './client.ts'
import { type TcpOptions, type TcpSettings, tcpSettings } from './options.ts'
import { TcpServer } from './server.ts'

export type { TcpOptions } from './options.ts'

/**
 * Pieces over TCP, in the Vortex protocol: to and from peers of this library and Dragonfly's own daemons.
 *
 * @example
 * ```ts
 * const transport = tcp({ connectTimeoutMs: 500 })(host)
 * ```
 * @throws TypeError, RangeError for an option that does not exist or is out of its range
 */
export function tcp(options?: TcpOptions): TransportFactory {
  const settings = tcpSettings(options)
  return (host) => new TcpTransport(settings, host)
}

class TcpTransport implements Transport {
  readonly name = 'tcp'
  readonly #lifetime: Lifetime
  readonly #client: TcpClient
  readonly #server: TcpServer
  #listening: { readonly ip: string; readonly port: number } | undefined

  constructor(settings: TcpSettings, host: TransportHost) {
    this.#lifetime = new Lifetime('TCP transport', host.clock)
    this.#client = new TcpClient(settings, host.clock, this.#lifetime)
    this.#server = new TcpServer(settings, host)
    this.#lifetime.signal.addEventListener('abort', () => this.#server.destroy(), { once: true })
  }

  reaches(from: ParentAddress): boolean {
    return tcpAddress(from.endpoint) !== undefined
  }

  read(
    from: ParentAddress,
    request: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    return this.#client.read(from, request, slot, signal)
  }

  async listen(): Promise<{ readonly ip: string; readonly port: number }> {
    this.#lifetime.check()
    this.#listening = await this.#server.listen()
    return this.#listening
  }

  explain(): unknown {
    return {
      listening: this.#listening,
      client: this.#client.explain(),
      server: this.#server.explain(),
    }
  }

  async close(timeoutMs: number = closeTimeoutMsDefault): Promise<void> {
    await this.#lifetime.close(timeoutMs, async () => {
      this.#client.dropIdle()
      await this.#server.close()
    })
  }

  destroy(reason: unknown): void {
    this.#lifetime.destroy(reason)
  }
}

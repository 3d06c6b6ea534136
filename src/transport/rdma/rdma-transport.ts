import type { ParentAddress, PieceRequest, Received, Slot } from '../../task/ports.ts'
import { closeTimeoutMsDefault, Lifetime } from '../lifetime.ts'
import type { Transport, TransportHost } from '../transport.ts'
import type { Addon } from './addon.ts'
import { RdmaClient } from './client.ts'
import type { RdmaService } from './control.ts'
import { nativeReason } from './native-failure.ts'
import type { RdmaSettings } from './options.ts'
import { Port } from './port.ts'
import { RdmaServer } from './server.ts'

/** Content shorter than this is not worth a registration of its own: memory comes in pages of 2 MiB. */
const registeredBytesLeast = 1024 * 1024

/** Pieces over RDMA: reads them out of the memory of others, and lets others read. */
export class RdmaTransport implements Transport {
  readonly name = 'rdma'
  readonly #lifetime: Lifetime
  readonly #port: Port
  readonly #client: RdmaClient
  readonly #server: RdmaServer
  #started: Promise<void> | undefined
  #closing: Promise<void> | undefined
  /** Why memory could not be registered when it was made. */
  #memoryReason = ''

  /** @param load - gives the addon */
  constructor(load: () => Addon, settings: RdmaSettings, host: TransportHost) {
    this.#lifetime = new Lifetime('RDMA transport', host.clock)
    this.#port = new Port(load, settings, host, {
      onLost: (reason) => {
        this.#client.drop(reason)
        this.#server.drop()
      },
      onQueuePair: (number) => {
        this.#client.onQueuePair(number)
        this.#server.onQueuePair(number)
      },
    })
    this.#client = new RdmaClient(this.#port, host, settings.stallTimeoutMs, this.#lifetime)
    this.#server = new RdmaServer(this.#port, host, this.#lifetime)
    this.#lifetime.signal.addEventListener(
      'abort',
      () => {
        this.#client.drop('Closed')
        this.#server.drop()
      },
      { once: true },
    )
  }

  get rdma(): RdmaService {
    return this.#server
  }

  reaches(from: ParentAddress): boolean {
    return this.#client.reaches(from)
  }

  read(
    from: ParentAddress,
    request: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    return this.#client.read(from, request, slot, signal)
  }

  /** Opens the device. It listens on no port of its own; a machine without RDMA is no failure. */
  async listen(): Promise<undefined> {
    this.#lifetime.check()
    this.#started ??= this.#port.start()
    await this.#started
  }

  async allocate(byteLength: number, ready = false): Promise<ArrayBuffer | undefined> {
    const port = this.#port.open
    if (port === undefined || (!ready && byteLength < registeredBytesLeast)) return undefined
    const buffer = await port.native.allocate(byteLength)
    if (!ready) return buffer
    try {
      await port.imports.regions.pin(buffer)
      this.#memoryReason = ''
    } catch (error) {
      // It is tried again when it is read into, and the reader is told then.
      this.#memoryReason = nativeReason(error)
    }
    return buffer
  }

  explain(): unknown {
    return {
      port: this.#port.explain(),
      memory: this.#memoryReason,
      client: this.#client.explain(),
      server: this.#server.explain(),
    }
  }

  async close(timeoutMs: number = closeTimeoutMsDefault): Promise<void> {
    await this.#lifetime.close(timeoutMs, () => this.#server.quiet(this.#lifetime.signal))
    await this.#free()
  }

  destroy(reason: unknown): void {
    this.#lifetime.destroy(reason)
    // Nobody waits for it; whoever does calls `close()`.
    this.#free().catch(() => undefined)
  }

  /** Parents and children are told first, then the device goes. */
  #free(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#started
      await Promise.all([this.#client.close(), this.#server.close()])
      await this.#port.close()
    })()
    return this.#closing
  }
}

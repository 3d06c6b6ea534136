import type { Transport } from '../transport/transport.ts'

/** Memory into which a transport reads without a copy. The stores that want it are opened before the transports that have it. */
export class TransportMemory {
  #transports: readonly Transport[] = []

  /** From now on these are asked, in their order. */
  use(transports: readonly Transport[]): void {
    this.#transports = transports
  }

  /** Undefined when no transport has such memory now: then any other does. `ready`: see `Transport.allocate`. */
  async allocate(byteLength: number, ready = false): Promise<ArrayBuffer | undefined> {
    for (const transport of this.#transports) {
      const memory = await transport.allocate?.(byteLength, ready)
      if (memory !== undefined) return memory
    }
    return undefined
  }
}

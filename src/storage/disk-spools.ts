import { PeerError } from '../errors.ts'
import { DiskSpool, type DiskSpoolHost } from './disk-spool.ts'

/** Most spools at a time; each has 512 KiB of memory and a descriptor. */
const spoolsMax = 64

/** The open spools of a disk store. */
export class DiskSpools {
  readonly #spools = new Set<DiskSpool>()
  #opening = 0

  /** Bytes in all of them. */
  get bytes(): number {
    let bytes = 0
    for (const spool of this.#spools) bytes += spool.length
    return bytes
  }

  /** @throws PeerError LIMIT_REACHED, and what `DiskSpool.open()` throws */
  async open(host: Omit<DiskSpoolHost, 'ended'>, path: string): Promise<DiskSpool> {
    if (this.#spools.size + this.#opening >= spoolsMax) {
      const details = { limit: 'spools', value: spoolsMax }
      throw new PeerError('LIMIT_REACHED', `There are ${spoolsMax} spools already`, details)
    }
    const ended = (spool: DiskSpool): void => void this.#spools.delete(spool)
    this.#opening++
    try {
      const spool = await DiskSpool.open({ ...host, ended }, path)
      this.#spools.add(spool)
      if (host.lifetime.aborted) await spool.discard()
      return spool
    } finally {
      this.#opening--
    }
  }

  /** Drops all of them. */
  async discard(): Promise<void> {
    await Promise.all([...this.#spools].map((spool) => spool.discard()))
  }
}

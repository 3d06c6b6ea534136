import { PeerError } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import { lingerMs } from './limits.ts'
import type { NativeDomain, NativeRdma, NativeRegistration } from './native.ts'

/** Memory comes in huge pages of this length. */
const pageBytes = 2 * 1024 * 1024

/** Registered memory for a short time. */
export interface Slab {
  readonly bytes: Uint8Array
  readonly registration: NativeRegistration
  /** Gives it back, once nothing reads from it or writes into it any more. Safe to call twice. */
  give(): void
}

/** What a pool works with. */
export interface SlabsHost {
  readonly native: NativeRdma
  readonly domain: NativeDomain
  readonly access: 'local' | 'remoteRead'
  readonly clock: Clock
  readonly bytesMax: number
}

interface Kept {
  readonly buffer: ArrayBuffer
  readonly registration: NativeRegistration
  /** The only one who was ever told its key. */
  readonly owner: object
}

interface Waiter {
  readonly byteLength: number
  readonly go: () => void
}

/**
 * A bounded pool of registered memory, by lengths that are powers of two. A slab that goes to another owner is registered anew: the keys that the owner before
 * it knows lead nowhere then. First come, first served.
 */
export class Slabs {
  readonly #host: SlabsHost
  readonly #free: Kept[] = []
  readonly #waiting = new Set<Waiter>()
  /** Bytes in use and free. */
  #bytes = 0
  #taken = 0
  #stopTimer: () => void = () => undefined

  constructor(host: SlabsHost) {
    this.#host = host
  }

  /** What is in use, as plain data. */
  explain(): unknown {
    return {
      bytesMax: this.#host.bytesMax,
      bytes: this.#bytes,
      bytesTaken: this.#taken,
      waiting: this.#waiting.size,
    }
  }

  /**
   * A slab of at least this length for one owner; waits for room.
   *
   * @throws PeerError LIMIT_REACHED when it can never have room; the error of the addon; the reason of `signal`
   */
  async take(byteLength: number, owner: object, signal: AbortSignal): Promise<Slab> {
    const size = sizeOf(byteLength)
    if (size > this.#host.bytesMax) {
      throw new PeerError('LIMIT_REACHED', `${byteLength} bytes do not fit in the pool`, {
        limit: 'rdma.memoryBytesMax',
        value: 2 * this.#host.bytesMax,
      })
    }
    signal.throwIfAborted()
    if (this.#waiting.size > 0 || !this.#fits(size)) await this.#wait(size, signal)
    else this.#taken += size
    try {
      const kept = await this.#find(size, owner)
      return this.#slab(kept, size, byteLength)
    } catch (error) {
      this.#taken -= size
      this.#advance()
      throw error
    }
  }

  #fits(size: number): boolean {
    return this.#taken + size <= this.#host.bytesMax
  }

  /** Resolves when the room is this caller's. */
  async #wait(size: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const waiter: Waiter = {
        byteLength: size,
        go: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      const leave = (): void => {
        this.#waiting.delete(waiter)
        this.#advance()
        reject(signal.reason)
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.add(waiter)
    })
  }

  #advance(): void {
    for (const waiter of this.#waiting) {
      if (!this.#fits(waiter.byteLength)) return
      this.#taken += waiter.byteLength
      this.#waiting.delete(waiter)
      waiter.go()
    }
  }

  async #find(size: number, owner: object): Promise<Kept> {
    const same = this.#free.findLastIndex(
      (kept) => kept.owner === owner && kept.buffer.byteLength === size,
    )
    const at = same === -1 ? this.#free.findIndex(({ buffer }) => buffer.byteLength === size) : same
    const [found] = at === -1 ? [] : this.#free.splice(at, 1)
    if (found?.owner === owner) return found
    if (found !== undefined) return await this.#renew(found, owner)
    await this.#makeRoom(size)
    return await this.#make(size, owner)
  }

  async #make(size: number, owner: object): Promise<Kept> {
    const { native, domain, access } = this.#host
    this.#bytes += size
    try {
      const buffer = await native.allocate(size)
      const registration = await native.register(domain, buffer, 0, size, access)
      return { buffer, registration, owner }
    } catch (error) {
      this.#bytes -= size
      throw error
    }
  }

  async #renew({ buffer, registration }: Kept, owner: object): Promise<Kept> {
    const { native, domain, access } = this.#host
    try {
      await native.deregister(registration)
      const fresh = await native.register(domain, buffer, 0, buffer.byteLength, access)
      return { buffer, registration: fresh, owner }
    } catch (error) {
      this.#bytes -= buffer.byteLength
      throw error
    }
  }

  /** Free slabs of other lengths make room: there is enough, because what is taken fits. */
  async #makeRoom(size: number): Promise<void> {
    while (this.#bytes + size > this.#host.bytesMax) {
      const oldest = this.#free.shift()
      if (oldest === undefined) return
      await this.#drop(oldest)
    }
  }

  #slab(kept: Kept, size: number, byteLength: number): Slab {
    let held = true
    return {
      bytes: new Uint8Array(kept.buffer, 0, byteLength),
      registration: kept.registration,
      give: () => {
        if (!held) return
        held = false
        this.#taken -= size
        this.#free.push(kept)
        this.#advance()
        this.#dropLater()
      },
    }
  }

  /** What nobody used for a while goes back to the machine. */
  #dropLater(): void {
    this.#stopTimer()
    this.#stopTimer = this.#host.clock.after(6 * lingerMs, () => {
      for (const kept of this.#free.splice(0)) void this.#drop(kept)
    })
  }

  async #drop({ buffer, registration }: Kept): Promise<void> {
    this.#bytes -= buffer.byteLength
    try {
      await this.#host.native.deregister(registration)
    } catch {
      // The device is closed, which ends all registrations.
    }
  }
}

function sizeOf(byteLength: number): number {
  let size = pageBytes
  while (size < byteLength) size *= 2
  return size
}

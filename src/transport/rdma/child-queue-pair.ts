import { PeerError } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import { type Deferred, deferred } from '../../util/deferred.ts'
import type { QueuePairEndpoint } from './control.ts'
import { sameSubnet } from './gid.ts'
import { GrantedLease, type LeaseEnd } from './granted-lease.ts'
import { childIdleTimeoutMs } from './limits.ts'
import type { NativeQueuePair } from './native.ts'
import type { OpenPort } from './open-port.ts'

/** What the connection of a child works with. */
export interface ChildHost {
  readonly port: OpenPort
  readonly clock: Clock
  readonly caller: string
  /** It is over; called once. */
  onOver(connection: ChildQueuePair): void
}

/** The connection of a child: its queue pair here and what it has leased. It ends as a whole when a lease is not renewed: what the child can still read then is nothing. */
export class ChildQueuePair {
  readonly caller: string
  readonly #host: ChildHost
  readonly #queuePair: NativeQueuePair
  readonly #remote: QueuePairEndpoint
  readonly #leases = new Map<string, GrantedLease>()
  readonly #ended = new AbortController()
  #connected: Promise<void> | undefined
  #mtu = 0
  /** Requests that wait. */
  #waiting = 0
  #stopTimer: () => void = () => undefined
  #freed: Promise<void> | undefined
  #quiet: Deferred<void> | undefined

  constructor(host: ChildHost, queuePair: NativeQueuePair, remote: QueuePairEndpoint) {
    this.#host = host
    this.caller = host.caller
    this.#queuePair = queuePair
    this.#remote = remote
    this.#watchIdle()
  }

  /** Number of its queue pair here. */
  get number(): number {
    return this.#queuePair.number
  }

  /** Fires when it is over. */
  get signal(): AbortSignal {
    return this.#ended.signal
  }

  /** Leases alive. */
  get leaseCount(): number {
    return this.#leases.size
  }

  /** Pieces leased now. */
  get pieceCount(): number {
    let count = 0
    for (const lease of this.#leases.values()) count += lease.count
    return count
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiting
  }

  /** Whether nobody would miss it. */
  get idle(): boolean {
    return this.#leases.size === 0 && this.#waiting === 0
  }

  /** Connects with the first request, which says with which MTU: both ends must have the same. @throws TypeError for another one later */
  async connect(mtu: number): Promise<void> {
    const { native, context } = this.#host.port
    const { num, lid, gid } = this.#remote
    if (this.#connected === undefined) {
      this.#mtu = mtu
      const near = lid !== 0 && context.lid !== 0 && sameSubnet(gid, context.gid)
      this.#connected = native.connect(this.#queuePair, {
        num,
        lid,
        gid: near ? new Uint8Array(gid.length) : gid,
        mtu,
        // It never begins a read itself, so what these two say is never used.
        readsOut: 1,
        readsIn: context.readsInMax,
        timeout: 14,
        retries: 6,
      })
      this.#connected.catch(() => void this.end())
    }
    if (this.#mtu !== mtu) throw new TypeError('The connection has another MTU')
    await this.#connected
  }

  /** Runs work that a request waits for. */
  async wait<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++
    this.#stopTimer()
    try {
      return await work()
    } finally {
      this.#waiting--
      this.#watchIdle()
    }
  }

  /** Makes a lease. */
  grant(pieces: ReadonlyMap<number, (how: LeaseEnd) => void>): GrantedLease {
    const lease: GrantedLease = new GrantedLease(this.#host.clock, pieces, () => void this.end())
    this.#leases.set(lease.id, lease)
    this.#stopTimer()
    return lease
  }

  /** A lease of this child. */
  lease(id: string): GrantedLease | undefined {
    return this.#leases.get(id)
  }

  /** The child is done with a lease. */
  release(id: string, read: ReadonlySet<number>): void {
    const lease = this.#leases.get(id)
    this.#leases.delete(id)
    lease?.end(read, false)
    this.#watchIdle()
  }

  /** Resolves when nothing is leased and no request waits. */
  async whenIdle(): Promise<void> {
    if (this.idle) return
    this.#quiet ??= deferred()
    await this.#quiet.promise
  }

  /** any → over. First nobody can read through it any more, then the memory is given back. */
  end(): Promise<void> {
    if (this.#freed !== undefined) return this.#freed
    this.#stopTimer()
    this.#ended.abort(
      new PeerError('CLOSED', 'There is no such connection', { what: 'connection' }),
    )
    this.#freed = this.#free()
    this.#host.onOver(this)
    return this.#freed
  }

  async #free(): Promise<void> {
    const { native } = this.#host.port
    try {
      await this.#connected?.catch(() => undefined)
      await native.abort(this.#queuePair)
      await native.freeQueuePair(this.#queuePair)
    } catch {
      // The device is closed, which frees everything.
    }
    for (const lease of this.#leases.values()) lease.end(new Set(), true)
    this.#leases.clear()
    this.#quiet?.resolve()
  }

  #watchIdle(): void {
    this.#stopTimer()
    if (!this.idle || this.#freed !== undefined) return
    this.#quiet?.resolve()
    this.#quiet = undefined
    this.#stopTimer = this.#host.clock.after(childIdleTimeoutMs, () => void this.end())
  }
}

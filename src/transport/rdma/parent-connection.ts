import { PeerError } from '../../errors.ts'
import type { Parent, PieceRequest, Received, Slot } from '../../task/ports.ts'
import type { Clock } from '../../util/clock.ts'
import { abortable, Scope } from '../../util/scope.ts'
import { protocolBroken, unreachable } from '../parent-errors.ts'
import { difference } from '../vortex.ts'
import { wrongEndpoint, wrongOffer } from './checks.ts'
import type { QueuePairEndpoint, RdmaControl } from './control.ts'
import { sameSubnet } from './gid.ts'
import { LeaseBook } from './lease-book.ts'
import { answerTimeoutMs, readsOutMax } from './limits.ts'
import type { NativeQueuePair } from './native.ts'
import { isOfAddon, nativeReason } from './native-failure.ts'
import type { OpenPort } from './open-port.ts'
import { Reads, ReadFailed } from './reads.ts'
import { Transfer } from './transfer.ts'

/** `ibv_qp_attr.timeout`: an unanswered packet is sent again after 67 ms. */
const packetTimeout = 14
/** How often. Together about half a second, and 7 would mean for ever. */
const packetRetries = 6

/** What a connection to a parent works with. */
export interface ConnectionHost {
  readonly port: OpenPort
  readonly control: RdmaControl
  readonly clock: Clock
  readonly stallTimeoutMs: number
  /** Waits for calls that tidy up, before everything is closed. */
  readonly tidy: (work: (signal: AbortSignal) => Promise<void>) => void
  /** It is over; called once. */
  onOver(connection: ParentConnection): void
}

/** Why a connection is over. `closed`: nobody is to blame. `without`: the parent has no RDMA. `stale`: the parent does not know it any more. */
export interface Over {
  readonly is: 'closed' | 'broken' | 'without' | 'stale'
  readonly reason: string
  readonly cause: unknown
}

interface Opened {
  readonly queuePair: NativeQueuePair
  readonly remote: QueuePairEndpoint
  readonly mtu: number
  readonly reads: Reads
  readonly readsMax: number
}

/**
 * A connection to a parent: one queue pair, through which several pieces of any tasks are read at once. It is opened by the first of them. When anything goes
 * wrong with it, all of them fail, and a new one may be made later.
 */
export class ParentConnection {
  readonly #host: ConnectionHost
  readonly #parent: Parent
  readonly #scope = new Scope([])
  readonly #books = new Map<string, LeaseBook>()
  readonly #opened: Promise<Opened>
  #connected: Promise<void> | undefined
  #queuePair: NativeQueuePair | undefined
  #reads: Reads | undefined
  #over: Over | undefined
  #users = 0
  #used = false
  #worked = false
  #freed: Promise<void> | undefined

  constructor(host: ConnectionHost, parent: Parent) {
    this.#host = host
    this.#parent = parent
    // Not at once: whoever made it must have it in hand before it can be over.
    this.#opened = Promise.resolve().then(() => this.#open())
    // Each read is told.
    this.#opened.catch(() => undefined)
  }

  /** Why it is over; undefined while it is not. */
  get over(): Over | undefined {
    return this.#over
  }

  /** The host of which it reads, for `explain()`. */
  get parent(): Parent {
    return this.#parent
  }

  /** Pieces that are being read. */
  get users(): number {
    return this.#users
  }

  /** A piece came over it. */
  get worked(): boolean {
    return this.#worked
  }

  /** Number of its queue pair here; undefined while it has none. */
  get number(): number | undefined {
    return this.#queuePair?.number
  }

  /**
   * Reads one piece.
   *
   * @throws PeerError PARENT_UNREACHABLE, PARENT_REFUSED, PARENT_PROTOCOL; the error of the slot; the reason of `signal`
   */
  async read(
    parent: string,
    request: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    using scope = new Scope([signal, this.#scope.signal])
    this.#users++
    this.#used = true
    try {
      return await this.#read(parent, request, slot, scope.signal)
    } catch (error) {
      signal.throwIfAborted()
      throw this.#shown(parent, error)
    } finally {
      this.#users--
    }
  }

  /** Whether nothing was read since it was asked this the last time. */
  wasIdle(): boolean {
    const used = this.#used || this.#users > 0
    this.#used = false
    return !used
  }

  /** Gives up leases that nobody uses. */
  letGo(): void {
    for (const [key, book] of this.#books) {
      if (book.inUse) continue
      book.letGo()
      this.#books.delete(key)
    }
  }

  /** any → over. Resolves when its queue pair is freed. */
  async end(over: Over): Promise<void> {
    if (this.#over === undefined) {
      this.#over = over
      this.#reads?.close()
      this.#scope.abort(new ReadFailed(over.reason))
      for (const book of this.#books.values()) book.letGo()
      this.#freed = this.#free()
      this.#host.onOver(this)
    }
    await this.#freed
  }

  async #read(
    parent: string,
    request: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    const opened = await abortable(this.#opened, signal)
    const grant = await this.#take(opened, parent, request, signal)
    let read = false
    try {
      const differs = difference(grant.piece, request)
      if (differs !== undefined) throw protocolBroken(parent, differs)
      this.#connected ??= this.#connect(opened)
      await abortable(this.#connected, signal)
      const { native, imports, context } = this.#host.port
      const { regions, slabs } = imports
      const { readBytesMax } = context
      const parts = { native, reads: opened.reads, regions, slabs, readBytesMax }
      await new Transfer(parts, slot, grant.piece).run(signal)
      read = true
      this.#worked = true
      return { digest: grant.piece.digest }
    } finally {
      grant.done(read)
    }
  }

  async #take(
    opened: Opened,
    parent: string,
    request: PieceRequest,
    signal: AbortSignal,
  ): ReturnType<LeaseBook['take']> {
    const { taskId, kind } = request
    const key = `${kind} ${taskId}`
    let book = this.#books.get(key)
    if (book === undefined) {
      const { control, clock, tidy } = this.#host
      book = new LeaseBook({
        control,
        clock,
        tidy,
        parent: this.#parent,
        signal: this.#scope.signal,
        queuePair: opened.remote.num,
        mtu: opened.mtu,
        taskId,
        kind,
      })
      this.#books.set(key, book)
    }
    try {
      return await book.take(request.piece, parent, signal)
    } catch (error) {
      if (!signal.aborted && PeerError.is(error, 'PARENT_UNREACHABLE')) {
        void this.end({ is: 'stale', reason: error.details.reason, cause: error })
      }
      throw error
    }
  }

  async #open(): Promise<Opened> {
    const { port, control, clock, stallTimeoutMs } = this.#host
    const parent = this.#parent
    using scope = new Scope([this.#scope.signal], {
      timeoutMs: Math.max(answerTimeoutMs, stallTimeoutMs),
      onTimeout: () => unreachable(parent.id, 'It did not answer in time'),
      clock,
    })
    const { signal } = scope
    try {
      const offer = await control.offer(parent, signal)
      const wrong = wrongOffer(offer)
      if (wrong !== undefined) throw protocolBroken(parent.id, wrong)
      const readsMax = Math.min(port.context.readsOutMax, offer.readsMax, readsOutMax)
      const queuePair = await port.native.queuePair(port.imports.domain, {
        readsMax,
        remoteRead: false,
      })
      this.#queuePair = queuePair
      signal.throwIfAborted()
      const { lid, gid } = port.context
      const remote = await control.exchange(parent, { num: queuePair.number, lid, gid }, signal)
      const bad = wrongEndpoint(remote)
      if (bad !== undefined) throw protocolBroken(parent.id, bad)
      const reads = new Reads({
        native: port.native,
        queuePair,
        readsMax,
        stallTimeoutMs,
        clock,
        onBroken: (reason, cause) => void this.end({ is: 'broken', reason, cause }),
      })
      this.#reads = reads
      signal.throwIfAborted()
      return { queuePair, remote, reads, readsMax, mtu: Math.min(offer.mtu, port.context.mtu) }
    } catch (error) {
      const is = PeerError.is(error, 'PARENT_REFUSED') ? 'without' : 'broken'
      void this.end({ is, reason: reasonOf(error), cause: error })
      throw error
    }
  }

  async #connect({ queuePair, remote, mtu, readsMax }: Opened): Promise<void> {
    const { native, context } = this.#host.port
    // Within a subnet of InfiniBand the local identifier is the address.
    const near = remote.lid !== 0 && context.lid !== 0 && sameSubnet(remote.gid, context.gid)
    try {
      await native.connect(queuePair, {
        num: remote.num,
        lid: remote.lid,
        gid: near ? new Uint8Array(remote.gid.length) : remote.gid,
        mtu,
        readsOut: readsMax,
        readsIn: 1,
        timeout: packetTimeout,
        retries: packetRetries,
      })
    } catch (error) {
      void this.end({ is: 'broken', reason: nativeReason(error), cause: error })
      throw error
    }
  }

  /** What the reader is told: never an error of the addon or of the control plane. */
  #shown(parent: string, error: unknown): unknown {
    const over = this.#over
    if (over !== undefined && (error instanceof ReadFailed || error === over.cause)) {
      const { is, reason, cause } = over
      if (PeerError.is(cause, 'PARENT_PROTOCOL')) return protocolBroken(parent, cause.details)
      return unreachable(parent, is === 'without' ? `It has no RDMA: ${reason}` : reason, cause)
    }
    if (PeerError.is(error, 'LIMIT_REACHED')) return unreachable(parent, error.message, error)
    return isOfAddon(error) ? unreachable(parent, nativeReason(error), error) : error
  }

  async #free(): Promise<void> {
    const { native } = this.#host.port
    // The opening may be under way: it ends by itself now, and its queue pair is known then.
    await this.#opened.catch(() => undefined)
    if (this.#queuePair === undefined) return
    try {
      await native.abort(this.#queuePair)
      await native.freeQueuePair(this.#queuePair)
    } catch {
      // The device is closed, which frees everything.
    }
  }
}

function reasonOf(error: unknown): string {
  if (PeerError.is(error, 'PARENT_UNREACHABLE', 'PARENT_REFUSED')) return error.details.reason
  return nativeReason(error)
}

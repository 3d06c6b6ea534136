import { PeerError } from '../../errors.ts'
import { publish } from '../../hooks.ts'
import type { OpenPiece } from '../../task/ports.ts'
import { deferred } from '../../util/deferred.ts'
import { abortable, Scope } from '../../util/scope.ts'
import type { Lifetime } from '../lifetime.ts'
import type { TransportHost } from '../transport.ts'
import { holdTimeoutMsDefault, Uploads } from '../uploads.ts'
import { wrongEndpoint, wrongRequest } from './checks.ts'
import { ChildQueuePair } from './child-queue-pair.ts'
import type {
  Lease,
  LeasedPiece,
  LeaseRequest,
  QueuePairEndpoint,
  RdmaOffer,
  RdmaService,
} from './control.ts'
import type { LeaseEnd } from './granted-lease.ts'
import { exposeCopy, type Exposed, exposeInPlace, liesRegistrable } from './granted-piece.ts'
import {
  childConnectionsMax,
  childConnectionsPerCallerMax,
  leasedPiecesMax,
  leasesPerConnectionMax,
  leaseTtlMs,
  requestPiecesMax,
  waitingGrantsMax,
} from './limits.ts'
import type { OpenPort } from './open-port.ts'
import type { Port } from './port.ts'

interface Granted extends Exposed {
  /** It lies in registered memory anyway, so more of its task can be had without waiting. */
  readonly inPlace: boolean
  readonly onEnd: (how: LeaseEnd) => void
}

const nothing: Lease = Object.freeze({ id: '', ttlMs: 0, pieces: [], more: false })

/** The serving side: who may read what, and for how long. The bytes go by themselves. */
export class RdmaServer implements RdmaService {
  readonly #port: Port
  readonly #host: TransportHost
  readonly #lifetime: Lifetime
  readonly #uploads: Uploads
  /** By number of their queue pair, oldest first. */
  readonly #children = new Map<number, ChildQueuePair>()
  /** Callers whose queue pair is being made, once for each. */
  readonly #making: string[] = []
  readonly #ending = new Set<Promise<void>>()

  constructor(port: Port, host: TransportHost, lifetime: Lifetime) {
    this.#port = port
    this.#host = host
    this.#lifetime = lifetime
    this.#uploads = new Uploads(host, 'rdma', holdTimeoutMsDefault)
  }

  offer(): RdmaOffer {
    return this.#open().offer
  }

  async exchange(
    remote: QueuePairEndpoint,
    caller: string,
    signal: AbortSignal,
  ): Promise<QueuePairEndpoint> {
    this.#lifetime.check()
    const port = this.#open()
    const wrong = wrongEndpoint(remote)
    if (wrong !== undefined) throw malformed(wrong)
    signal.throwIfAborted()
    this.#makeRoom(caller)
    this.#making.push(caller)
    try {
      const { native, context, exports } = port
      const queuePair = await native.queuePair(exports.domain, { readsMax: 1, remoteRead: true })
      const onOver = (child: ChildQueuePair): void => this.#onOver(child)
      const child = new ChildQueuePair(
        { port, clock: this.#host.clock, caller, onOver },
        queuePair,
        remote,
      )
      this.#children.set(child.number, child)
      if (signal.aborted || this.#lifetime.closed || this.#port.open !== port) void child.end()
      signal.throwIfAborted()
      return { num: queuePair.number, lid: context.lid, gid: context.gid }
    } finally {
      this.#making.splice(this.#making.indexOf(caller), 1)
    }
  }

  async lease(request: LeaseRequest, caller: string, signal: AbortSignal): Promise<Lease> {
    this.#lifetime.check()
    const port = this.#open()
    const wrong = wrongRequest(request, port.offer.mtu)
    if (wrong !== undefined) throw malformed(wrong)
    const child = this.#children.get(request.queuePair)
    if (child === undefined || child.caller !== caller) throw unknown('connection')
    refuseMore('leasesPerConnectionMax', child.leaseCount, leasesPerConnectionMax)
    refuseMore('waitingGrantsMax', child.waiting, waitingGrantsMax)
    refuseMore('leasedPiecesMax', child.pieceCount + request.pieces.length, leasedPiecesMax + 1)
    return await child.wait(async () => {
      await child.connect(request.mtu)
      using scope = new Scope([signal, child.signal])
      return request.wait
        ? await this.#leaseOne(request, child, port, scope.signal)
        : await this.#leaseAtOnce(request, child, port, scope.signal)
    })
  }

  renew(id: string, caller: string): number {
    return this.#find(id, caller).lease.renew()
  }

  release(id: string, read: readonly number[], caller: string): void {
    if (read.length > requestPiecesMax) throw new TypeError('Too many piece numbers')
    this.#find(id, caller).child.release(id, new Set(read))
  }

  /** All connections of children end. */
  drop(): void {
    for (const child of [...this.#children.values()]) void child.end()
  }

  /** The queue pair with this number broke. */
  onQueuePair(number: number): void {
    void this.#children.get(number)?.end()
  }

  /** Ends what is left. Resolves when all queue pairs are freed. */
  async close(): Promise<void> {
    this.drop()
    await Promise.all(this.#ending)
  }

  /** Resolves when no lease is left, or when the signal fires. */
  async quiet(signal: AbortSignal): Promise<void> {
    const idle = Promise.all([...this.#children.values()].map((child) => child.whenIdle()))
    // Then the connections end, whoever still reads over them.
    await abortable(idle, signal).catch(() => undefined)
  }

  /** What is open now, as plain data. */
  explain(): unknown {
    return {
      connections: [...this.#children.values()].map(({ caller, leaseCount, pieceCount }) => ({
        caller,
        leases: leaseCount,
        pieces: pieceCount,
      })),
      uploads: this.#uploads.explain(),
    }
  }

  #open(): OpenPort {
    const port = this.#port.open
    if (port !== undefined) return port
    throw new PeerError('CLOSED', `There is no RDMA here: ${this.#port.reason}`, { what: 'RDMA' })
  }

  /** One piece, when it is there and it is its turn. The turn lasts as long as the lease. */
  async #leaseOne(
    request: LeaseRequest,
    child: ChildQueuePair,
    port: OpenPort,
    signal: AbortSignal,
  ): Promise<Lease> {
    const { taskId, kind, pieces } = request
    const number = pieces[0] ?? 0
    const granted = deferred<Granted>()
    const life = new Scope([signal])
    const serving = this.#uploads.serve({ taskId, kind, number }, life.signal, async (open) => {
      await this.#host.uploadRate.take(open.piece.length, life.signal)
      const inPlace = liesRegistrable(port.native, open)
      const exposed = inPlace
        ? await exposeInPlace(port.exports, open)
        : await exposeCopy(port.exports, open, child, life.signal)
      const ended = deferred<LeaseEnd>()
      granted.resolve({ ...exposed, inPlace, onEnd: ended.resolve })
      const { read, revoked } = await ended.promise
      exposed.end(revoked)
      if (!read) throw unknown('lease')
    })
    // A failure before the grant is the answer; after it there is nobody to tell.
    serving.catch(granted.reject)
    try {
      const one = await granted.promise
      if (signal.aborted) one.onEnd({ read: false, revoked: true })
      signal.throwIfAborted()
      return this.#answer(child, [one], one.inPlace && this.#unlimited)
    } finally {
      // From now on the lease decides how long it lives.
      life[Symbol.dispose]()
    }
  }

  /** What lies in registered memory of the wanted pieces. It takes no turn: nothing here has to do anything for it. */
  async #leaseAtOnce(
    request: LeaseRequest,
    child: ChildQueuePair,
    port: OpenPort,
    signal: AbortSignal,
  ): Promise<Lease> {
    if (!this.#unlimited) return nothing
    const opened = await this.#openAtOnce(request, signal)
    const granted: Granted[] = []
    for (const open of opened) {
      if (!liesRegistrable(port.native, open)) {
        open.close()
        continue
      }
      try {
        const exposed = await exposeInPlace(port.exports, open)
        granted.push({
          ...exposed,
          inPlace: true,
          onEnd: (how) => this.#ended(request, open, exposed, how),
        })
      } catch {
        // No room for the registration: the child asks for it alone, and is told.
        open.close()
      }
    }
    if (signal.aborted) for (const one of granted) one.onEnd({ read: false, revoked: true })
    signal.throwIfAborted()
    return granted.length === 0 ? nothing : this.#answer(child, granted, true)
  }

  /** The pieces that can be opened without waiting for anything. */
  async #openAtOnce(
    { taskId, kind, pieces }: LeaseRequest,
    signal: AbortSignal,
  ): Promise<OpenPiece[]> {
    using scope = new Scope([signal])
    const opened: OpenPiece[] = []
    let over = false
    for (const number of pieces) {
      const opening = this.#host.shelf.open({ taskId, kind, number, unchecked: true }, scope.signal)
      opening.then(
        (open) => {
          if (over) open.close()
          else opened.push(open)
        },
        // It is not there, or not yet: it is left out.
        () => undefined,
      )
    }
    await new Promise<void>((resolve) => setImmediate(resolve))
    over = true
    scope.abort(unknown('piece'))
    return opened
  }

  #ended(request: LeaseRequest, open: OpenPiece, exposed: Exposed, how: LeaseEnd): void {
    exposed.end(how.revoked)
    open.close()
    if (!how.read) return
    const { number, length } = open.piece
    // Counts it. There is no limit, or it would not have been leased without waiting.
    this.#host.uploadRate.take(length, this.#lifetime.signal).catch(() => undefined)
    const { taskId: task } = request
    publish('dragonfly-peer:piece:served', () => ({ task, number, length, transport: 'rdma' }))
  }

  #answer(child: ChildQueuePair, granted: readonly Granted[], more: boolean): Lease {
    const ends = new Map<number, (how: LeaseEnd) => void>()
    const pieces: LeasedPiece[] = []
    for (const { leased, onEnd } of granted) {
      ends.set(leased.number, onEnd)
      pieces.push(leased)
    }
    return { id: child.grant(ends).id, ttlMs: leaseTtlMs, pieces, more }
  }

  get #unlimited(): boolean {
    return this.#host.uploadRate.limited === false
  }

  #find(
    id: string,
    caller: string,
  ): {
    readonly child: ChildQueuePair
    readonly lease: NonNullable<ReturnType<ChildQueuePair['lease']>>
  } {
    for (const child of this.#children.values()) {
      const lease = child.caller === caller ? child.lease(id) : undefined
      if (lease !== undefined) return { child, lease }
    }
    throw unknown('lease')
  }

  /** @throws PeerError LIMIT_REACHED */
  #makeRoom(caller: string): void {
    const own = [...this.#children.values()].filter((child) => child.caller === caller)
    const making = this.#making.filter((each) => each === caller).length
    if (own.length + making >= childConnectionsPerCallerMax) {
      dropIdle(own, 'childConnectionsPerCallerMax', childConnectionsPerCallerMax)
    }
    if (this.#children.size + this.#making.length >= childConnectionsMax) {
      dropIdle([...this.#children.values()], 'childConnectionsMax', childConnectionsMax)
    }
  }

  #onOver(child: ChildQueuePair): void {
    this.#children.delete(child.number)
    const ending = child.end()
    this.#ending.add(ending)
    void ending.finally(() => this.#ending.delete(ending))
  }
}

/** Drops the oldest that nobody would miss. @throws PeerError LIMIT_REACHED when there is none */
function dropIdle(among: readonly ChildQueuePair[], limit: string, value: number): void {
  const idle = among.find((child) => child.idle)
  if (idle === undefined) throw limitReached(limit, value)
  void idle.end()
}

function refuseMore(limit: string, count: number, max: number): void {
  if (count >= max) throw limitReached(limit, max)
}

function limitReached(limit: string, value: number): PeerError<'LIMIT_REACHED'> {
  return new PeerError('LIMIT_REACHED', `No more room: ${limit} is ${value}`, { limit, value })
}

function unknown(what: string): PeerError<'CLOSED'> {
  return new PeerError('CLOSED', `There is no such ${what}`, { what })
}

function malformed(wrong: { readonly what: string; readonly expected: string }): TypeError {
  return new TypeError(`The ${wrong.what} must be ${wrong.expected}`)
}

import { PeerError } from '../errors.ts'
import type {
  OpenPiece,
  ParentAddress,
  PieceEndpoint,
  PieceRequest,
  Received,
  Slot,
} from '../task/ports.ts'
import { abortable } from '../util/scope.ts'
import { closeTimeoutMsDefault, Lifetime } from './lifetime.ts'
import { protocolBroken, refused, unreachable } from './parent-errors.ts'
import type { Transport, TransportFactory, TransportHost } from './transport.ts'
import { holdTimeoutMsDefault, Uploads } from './uploads.ts'
import { difference } from './vortex.ts'

/** Most bytes that are copied, and paced, at a time. */
const partBytes = 256 * 1024
const firstPort = 20_000

/** A network inside one process: its transports reach each other without sockets. */
export interface MemoryNetwork {
  /** Makes a factory; every transport from it is on this network. Port 0 becomes a port of its own. */
  transport(): TransportFactory
}

/**
 * Makes a network for tests, simulations and several peers in one process. Same contract as TCP: slots, rates, refusals, comparisons.
 *
 * @example
 * ```ts
 * const network = memoryNetwork()
 * const [parent, child] = [network.transport()(parentHost), network.transport()(childHost)]
 * ```
 */
export function memoryNetwork(): MemoryNetwork {
  const places: Places = new Map()
  return { transport: () => (host) => new MemoryTransport(places, host) }
}

type Places = Map<string, MemoryTransport>

class MemoryTransport implements Transport {
  readonly name = 'memory'
  readonly #places: Places
  readonly #host: TransportHost
  readonly #lifetime: Lifetime
  readonly #uploads: Uploads
  #at: { readonly ip: string; readonly port: number } | undefined

  constructor(places: Places, host: TransportHost) {
    this.#places = places
    this.#host = host
    this.#lifetime = new Lifetime('memory transport', host.clock)
    this.#uploads = new Uploads(host, this.name, holdTimeoutMsDefault)
    this.#lifetime.signal.addEventListener('abort', () => this.#leave(), { once: true })
  }

  reaches(from: ParentAddress): boolean {
    return this.#places.has(placeOf(from.endpoint))
  }

  async read(
    from: ParentAddress,
    request: PieceRequest,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<Received> {
    if (slot.filled !== 0) throw new RangeError(`The slot holds ${slot.filled} bytes already`)
    return await this.#lifetime.run(signal, async (scope) => {
      const parent = this.#places.get(placeOf(from.endpoint))
      if (parent === undefined) throw unreachable(from.parent.id, 'Nobody listens there')
      return await parent.#serve(from.parent.id, request, slot, scope)
    })
  }

  listen(): Promise<{ readonly ip: string; readonly port: number }> {
    return new Promise((resolve) => {
      this.#lifetime.check()
      this.#at ??= this.#enter()
      resolve(this.#at)
    })
  }

  explain(): unknown {
    return { listening: this.#at, uploads: this.#uploads.explain() }
  }

  async close(timeoutMs: number = closeTimeoutMsDefault): Promise<void> {
    this.#leave()
    await this.#lifetime.close(timeoutMs)
  }

  destroy(reason: unknown): void {
    this.#lifetime.destroy(reason)
  }

  #enter(): { readonly ip: string; readonly port: number } {
    const { ip, port: wanted } = this.#host.listen
    const port = wanted === 0 ? this.#freePort(ip) : wanted
    if (this.#places.has(`${ip} ${port}`)) {
      const address = `${ip}:${port}`
      throw new PeerError('LISTEN_FAILED', `Cannot listen on ${address}: in use`, {
        address,
        reason: 'in use',
      })
    }
    this.#places.set(`${ip} ${port}`, this)
    return { ip, port }
  }

  #freePort(ip: string): number {
    let port = firstPort
    while (this.#places.has(`${ip} ${port}`)) port++
    return port
  }

  #leave(): void {
    if (this.#at !== undefined) this.#places.delete(`${this.#at.ip} ${this.#at.port}`)
    this.#at = undefined
  }

  /** Runs at the parent, with the reader's slot; fails as the reader would see it over a wire. */
  async #serve(
    parentId: string,
    request: PieceRequest,
    slot: Slot,
    readerSignal: AbortSignal,
  ): Promise<Received> {
    const wanted = {
      taskId: request.taskId,
      kind: request.kind,
      number: request.piece.number,
    }
    const delivery = new Delivery(parentId, request, slot, this.#host)
    try {
      return await this.#lifetime.run(readerSignal, async (signal) => {
        await this.#uploads.serve(wanted, signal, (open) => delivery.send(open, signal))
        return { digest: delivery.digest }
      })
    } catch (error) {
      readerSignal.throwIfAborted()
      if (delivery.failedAtReader) throw error
      if (this.#lifetime.closed) throw unreachable(parentId, 'It closed', error)
      if (slot.filled > 0) throw unreachable(parentId, `It broke off at ${slot.filled}`, error)
      const notFound = PeerError.is(error, 'TASK_NOT_FOUND')
      throw refused(parentId, notFound ? 'not found: No such piece here' : 'internal: Cannot serve')
    }
  }
}

/** One piece on its way from a shelf into a slot. */
class Delivery {
  readonly #parentId: string
  readonly #request: PieceRequest
  readonly #slot: Slot
  readonly #host: TransportHost
  digest = ''
  /** The failure is the reader's own, or its finding: not one of the parent. */
  failedAtReader = false

  constructor(parentId: string, request: PieceRequest, slot: Slot, host: TransportHost) {
    this.#parentId = parentId
    this.#request = request
    this.#slot = slot
    this.#host = host
  }

  async send(open: OpenPiece, signal: AbortSignal): Promise<void> {
    const differs = difference(open.piece, this.#request)
    if (differs !== undefined) {
      this.failedAtReader = true
      throw protocolBroken(this.#parentId, differs)
    }
    this.digest = open.digest
    const slot = this.#slot
    while (slot.filled < open.piece.length) {
      const space = await this.#space(signal)
      const length = Math.min(space.length, open.piece.length - slot.filled, partBytes)
      await this.#host.uploadRate.take(length, signal)
      const count = await copy(open, slot.filled, space.subarray(0, length))
      signal.throwIfAborted()
      this.#atReader(() => slot.fill(count))
    }
  }

  async #space(signal: AbortSignal): Promise<Uint8Array> {
    for (;;) {
      const space = this.#atReader(() => this.#slot.space())
      if (space !== undefined) return space
      try {
        await abortable(this.#slot.drained(), signal)
      } catch (error) {
        this.failedAtReader = !signal.aborted
        throw error
      }
    }
  }

  #atReader<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      this.failedAtReader = true
      throw error
    }
  }
}

async function copy(open: OpenPiece, position: number, into: Uint8Array): Promise<number> {
  if (open.memory === undefined) {
    const count = await open.read(into, position)
    if (count > 0) return count
    throw new RangeError(`Piece ${open.piece.number} ends at ${position}`)
  }
  into.set(open.memory.subarray(position, position + into.length))
  return into.length
}

function placeOf(endpoint: PieceEndpoint): string {
  return `${endpoint.ip} ${endpoint.tcpPort ?? 0}`
}

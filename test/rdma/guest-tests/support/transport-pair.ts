import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { PeerError } from '../../../../src/errors.ts'
import type { HookMessages } from '../../../../src/hooks.ts'
import type { ParentAddress } from '../../../../src/task/ports.ts'
import type { RdmaControl } from '../../../../src/transport/rdma/control.ts'
import { rdma } from '../../../../src/transport/rdma/rdma.ts'
import { Routes } from '../../../../src/transport/routes.ts'
import { tcp } from '../../../../src/transport/tcp/tcp.ts'
import type { Transport, TransportHost } from '../../../../src/transport/transport.ts'
import { systemClock } from '../../../../src/util/clock.ts'
import { abortable } from '../../../../src/util/scope.ts'
import { cleanup, type Ending } from '../../../support/cleanup.ts'
import { never, noLimit } from '../../../transport/pair.ts'
import { PieceShelf, taskId } from '../../../transport/piece-shelf.ts'
import { PieceSlot } from '../../../transport/piece-slot.ts'
import { Far, FarError } from './far.ts'
import { ends, gidIndex } from './machine.ts'
import { base, lengthMax, mixedPiece, partOf } from './mixed-shelf.ts'
import type { ParentCommands } from './parent-end.ts'
import { nativeRdma } from './native-rdma.ts'

type Fallback = HookMessages['dragonfly-peer:transport:fallback']

/** Pieces that are fetched at a time. */
const concurrency = 16

/** Where TCP runs: not over the cable, so that it works when that is broken. */
const tcpIp = '127.0.0.1'

/** How pieces were fetched. */
export interface Fetched {
  readonly pieces: number
  readonly bytes: number
  readonly tookMs: number
  /** Registrations of this process since the first pieces. */
  readonly registrationsLater: number
}

/** A parent process at one end of the cable, and RDMA with TCP behind it in this process at the other end. */
export class TransportPair {
  readonly far: Far<ParentCommands>
  /** Pieces that went on over TCP, with the reasons. */
  readonly fallbacks: Fallback[] = []
  readonly #routes: Routes
  readonly #address: ParentAddress
  readonly #expected: Uint8Array = base()
  /** Memory of each worker: registered, and ordinary. */
  readonly #memory: readonly (readonly [Uint8Array, Uint8Array])[]

  private constructor(
    far: Far<ParentCommands>,
    transports: readonly Transport[],
    address: ParentAddress,
    registered: ArrayBuffer,
  ) {
    this.far = far
    this.#routes = new Routes(transports)
    this.#address = address
    this.#memory = Array.from({ length: concurrency }, (_, at) => [
      new Uint8Array(registered, at * lengthMax, lengthMax),
      new Uint8Array(lengthMax),
    ])
  }

  /** Starts both. */
  static async start(t: Ending): Promise<TransportPair> {
    const far = new Far<ParentCommands>(t, new URL('./parent-end.js', import.meta.url))
    const tcpPort = await far.ask('start', { tcpIp })
    const host: TransportHost = {
      shelf: new PieceShelf(Buffer.alloc(0), 1),
      listen: { ip: tcpIp, port: 0 },
      hostIp: ends.child.ip,
      uploadRate: noLimit,
      uploadSlots: 1,
      clock: systemClock,
      rdma: controlOver(far),
    }
    const transports = [rdma({ device: ends.child.device, gidIndex })(host), tcp()(host)]
    const [first] = transports
    await first?.listen()
    const memory = await first?.allocate?.(concurrency * lengthMax, true)
    assert.ok(memory !== undefined, JSON.stringify(first?.explain()))
    const parent = { id: 'parent', hostId: 'host', ip: ends.parent.ip, port: 4000, seed: false }
    const address: ParentAddress = { parent, endpoint: { ip: tcpIp, tcpPort } }
    const pair = new TransportPair(far, transports, address, memory)
    pair.#watch(t)
    cleanup(t, async () => {
      await Promise.all(transports.map(async (each) => each.close(1000)))
      // Memory itself stays until the garbage collector has taken the last view of it.
      const { contexts, domains, registrations, queuePairs } = nativeRdma().stats().live
      assert.deepEqual([contexts, domains, registrations, queuePairs], [0, 0, 0, 0])
    })
    return pair
  }

  /** Fetches these pieces and compares every byte. `onPiece` is called after each. */
  async fetch(
    from: number,
    to: number,
    onPiece: (done: number) => void = () => undefined,
  ): Promise<Fetched> {
    let next = from
    let done = 0
    let bytes = 0
    const begin = performance.now()
    let registrations = 0
    const worker = async (memory: readonly [Uint8Array, Uint8Array]): Promise<void> => {
      while (next < to) {
        const number = next++
        const length = await this.#fetchOne(number, memory[number % 5 === 0 ? 1 : 0])
        bytes += length
        onPiece(++done)
        // By now pieces of all kinds have been there, in both kinds of memory.
        if (done === 20 * concurrency) registrations = nativeRdma().stats().registrations
      }
    }
    await Promise.all(this.#memory.map(worker))
    const registrationsLater = nativeRdma().stats().registrations - registrations
    return { pieces: done, bytes, tookMs: performance.now() - begin, registrationsLater }
  }

  async #fetchOne(number: number, memory: Uint8Array): Promise<number> {
    const piece = mixedPiece(number)
    const slot = new PieceSlot(piece, memory.subarray(0, piece.length))
    slot.bytes.fill(0)
    const request = { taskId, kind: 'standard', piece } as const
    const { digest } = await this.#routes.read(this.#address, request, slot, never)
    assert.equal(digest, await slot.finish(), `Piece ${number}`)
    const { start, length } = partOf(number)
    const wanted = Buffer.from(this.#expected.buffer, start, length)
    assert.ok(wanted.equals(slot.bytes), `Piece ${number} differs`)
    slot.release()
    return length
  }

  #watch(t: Ending): void {
    const name = 'dragonfly-peer:transport:fallback'
    const onFallback = (message: unknown): void => void this.fallbacks.push(message as Fallback)
    subscribe(name, onFallback)
    cleanup(t, () => void unsubscribe(name, onFallback))
  }
}

/** What `peer` says over gRPC is said over the channel of the process here. */
function controlOver(far: Far<ParentCommands>): RdmaControl {
  const ask = async <N extends keyof ParentCommands>(
    name: N,
    what: ParentCommands[N]['ask'],
    signal: AbortSignal,
  ): Promise<ParentCommands[N]['answer']> => {
    try {
      return await abortable(far.ask(name, what), signal)
    } catch (error) {
      throw error instanceof FarError ? translated(error) : error
    }
  }
  return {
    offer: (_, signal) => ask('offer', undefined, signal),
    exchange: (_, own, signal) => ask('exchange', own, signal),
    lease: (_, request, signal) => ask('lease', request, signal),
    renew: (_, lease, signal) => ask('renew', lease, signal),
    release: (_, lease, read, signal) => ask('release', { lease, read }, signal),
  }
}

function translated({ code, message }: FarError): PeerError {
  const details = { parent: 'parent', reason: message }
  if (code === 'LIMIT_REACHED') {
    return new PeerError('LIMIT_REACHED', message, { limit: 'leases', value: 0 })
  }
  const gone = code === 'GONE' || code === 'CLOSED'
  return new PeerError(gone ? 'PARENT_UNREACHABLE' : 'PARENT_REFUSED', message, details)
}

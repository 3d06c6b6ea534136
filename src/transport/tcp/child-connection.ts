import type { Socket } from 'node:net'
import { PeerError } from '../../errors.ts'
import type { OpenPiece } from '../../task/ports.ts'
import type { Clock } from '../../util/clock.ts'
import { type Deferred, deferred } from '../../util/deferred.ts'
import type { NativeFlow } from '../../util/flow.ts'
import type { RateGate } from '../transport.ts'
import type { Uploads } from '../uploads.ts'
import {
  encodeContentHead,
  encodeError,
  parentIdBytesMax,
  RequestDecoder,
  type VortexRequest,
  vortexErrors,
} from '../vortex.ts'
import { sendFile } from './file-sender.ts'
import type { TcpSettings } from './options.ts'
import { Outbox } from './outbox.ts'
import { partBytes, type ReadBuffers } from './read-buffers.ts'

/** Requests that a child may send ahead on one connection. Our own children send none. */
const requestsAheadMax = 16

/** The head of the answer for who asks first, nothing for those who ask later. */
type TakeHead = () => Uint8Array[]

/** What a connection of a child works with. */
export interface ChildHost {
  readonly uploads: Uploads
  readonly uploadRate: RateGate
  readonly buffers: ReadBuffers
  /** Sends from files; undefined where it does not load, or is not wanted. */
  readonly flow: NativeFlow | undefined
  readonly settings: TcpSettings
  readonly clock: Clock
}

/**
 * A connection of a child: requests come in, pieces go out, one after another.
 *
 * It is read all the time, so that a child that goes away is noticed while its request waits. The end of its writing (FIN) is no sign of that: a Rust child
 * closes its half as soon as it has the head of the answer. What it asked for is still sent, and then the connection ends.
 */
export class ChildConnection {
  readonly #socket: Socket
  readonly #host: ChildHost
  readonly #outbox: Outbox
  readonly #decoder = new RequestDecoder()
  readonly #requests: VortexRequest[] = []
  readonly #gone = new AbortController()
  /** Set while the connection waits for a request. */
  #wake: Deferred<void> | undefined
  /** No more requests: the child ended its half, or this peer closes. */
  #ending = false
  #asked = false

  constructor(socket: Socket, host: ChildHost) {
    this.#socket = socket
    this.#host = host
    this.#outbox = new Outbox(socket, host.clock, host.settings.stallTimeoutMs)
    socket.on('data', (bytes: Buffer) => this.#onData(bytes))
    socket.on('end', () => this.end())
    // The reason does not matter: 'close' follows, and the child asks another parent.
    socket.on('error', () => undefined)
    socket.on('close', () => this.#onClose())
  }

  /** Whether it stands there without a request. */
  get waiting(): boolean {
    return this.#wake !== undefined && this.#requests.length === 0
  }

  /** Whether it has ever sent a request. */
  get asked(): boolean {
    return this.#asked
  }

  /** Serves until the child is gone or done. Never rejects. */
  async run(): Promise<void> {
    for (;;) {
      const request = await this.#next()
      if (request === undefined) break
      await this.#serve(request)
    }
    if (this.#socket.readableEnded) this.#socket.end()
    else this.#socket.destroySoon()
  }

  /** Ends after what was asked already. */
  end(): void {
    this.#ending = true
    this.#wake?.resolve()
  }

  /** Ends now. */
  destroy(): void {
    this.#requests.length = 0
    this.#ending = true
    // Not `resetAndDestroy()`: it waits for what is still to be written, and with an end under way the reset fails and the socket never closes.
    this.#socket.destroy()
    this.#gone.abort(new Error('The connection is given up'))
    this.#wake?.resolve()
  }

  #onData(bytes: Buffer): void {
    let rest: Uint8Array = bytes
    while (rest.length > 0 && !this.#ending) {
      const { taken, asked } = this.#decoder.push(rest)
      rest = rest.subarray(taken)
      if (asked === undefined) continue
      if (asked.is === 'wrong' || this.#requests.length >= requestsAheadMax) {
        this.destroy()
        return
      }
      this.#requests.push(asked.request)
      this.#asked = true
    }
    if (this.#requests.length > 0) this.#wake?.resolve()
  }

  #onClose(): void {
    this.#outbox.stop()
    this.#requests.length = 0
    this.#ending = true
    this.#gone.abort(new Error('The child is gone'))
    this.#wake?.resolve()
  }

  /** The next request; undefined when there will be none. The time limit counts from here: a child cannot stretch it byte by byte. */
  async #next(): Promise<VortexRequest | undefined> {
    if (this.#requests.length === 0 && !this.#ending) {
      this.#wake = deferred()
      const stopTimer = this.#host.clock.after(this.#host.settings.requestTimeoutMs, () =>
        this.destroy(),
      )
      await this.#wake.promise
      stopTimer()
      this.#wake = undefined
    }
    return this.#requests.shift()
  }

  async #serve(request: VortexRequest): Promise<void> {
    const signal = this.#gone.signal
    let begun = false
    try {
      const send = async (open: OpenPiece): Promise<void> => {
        const head = headOf(request, open)
        const takeHead: TakeHead = () => {
          if (begun) return []
          begun = true
          return [head]
        }
        if (open.memory !== undefined) return await this.#sendMemory(open.memory, takeHead, signal)
        const parts = { ...this.#host, socket: this.#socket, outbox: this.#outbox }
        const sendHead = (): Promise<void> => this.#outbox.write(...takeHead())
        const sent = await sendFile(parts, open, sendHead, signal)
        await this.#sendFromDisk(open, sent, takeHead, signal)
      }
      await this.#host.uploads.serve(request, signal, send, this.#socket.remoteAddress)
    } catch (error) {
      if (signal.aborted) return
      if (begun) this.destroy()
      else await this.#outbox.write(errorAnswer(error))
    }
  }

  /** Views of the memory go to the socket; no copy is made. Two parts are on their way at most. */
  async #sendMemory(memory: Uint8Array, takeHead: TakeHead, signal: AbortSignal): Promise<void> {
    let before = Promise.resolve()
    const { length } = memory
    // The application may transfer it to a worker at any time: nothing is left of it here then, and the child must not wait for the rest.
    const check = (): void => {
      signal.throwIfAborted()
      if (memory.length !== length) throw new RangeError('The memory of the piece was taken away')
    }
    for (let at = 0; at === 0 || at < length; at += partBytes) {
      await this.#host.uploadRate.take(Math.min(partBytes, length - at), signal)
      check()
      const written = this.#outbox.write(...takeHead(), memory.subarray(at, at + partBytes))
      await before
      before = written
    }
    await before
    check()
  }

  /** While one buffer is on its way to the child, the other one is filled. */
  async #sendFromDisk(
    open: OpenPiece,
    from: number,
    takeHead: TakeHead,
    signal: AbortSignal,
  ): Promise<void> {
    const { pair, give } = await this.#host.buffers.take(signal)
    const written = [Promise.resolve(), Promise.resolve()]
    try {
      for (let at = from, turn: 0 | 1 = 0; at < open.piece.length; turn = turn === 0 ? 1 : 0) {
        await written[turn]
        signal.throwIfAborted()
        const part = pair[turn].subarray(0, Math.min(partBytes, open.piece.length - at))
        await readFully(open, part, at)
        await this.#host.uploadRate.take(part.length, signal)
        signal.throwIfAborted()
        written[turn] = this.#outbox.write(...takeHead(), part)
        at += part.length
      }
      await Promise.all(written)
      signal.throwIfAborted()
    } finally {
      // The socket may still read from them.
      void Promise.all(written).then(give)
    }
  }
}

/** @throws RangeError when the shelf contradicts itself: nothing may go out whose length is not the announced one */
function headOf(request: VortexRequest, open: OpenPiece): Uint8Array {
  const { piece, digest, parentId, createdAt, memory } = open
  if (memory !== undefined && memory.length !== piece.length) {
    throw new RangeError(`Piece ${piece.number} has ${piece.length} bytes, not ${memory.length}`)
  }
  return encodeContentHead({
    kind: request.kind,
    number: piece.number,
    offset: piece.offset,
    length: piece.length,
    digest,
    // It came from another peer, so it may be anything; nobody needs it.
    parentId: Buffer.byteLength(parentId) > parentIdBytesMax ? '' : parentId,
    costSeconds: 0,
    createdAtSeconds: Math.floor(createdAt / 1000),
  })
}

async function readFully(open: OpenPiece, into: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < into.length; ) {
    const count = await open.read(into.subarray(at), position + at)
    if (count <= 0) throw new RangeError(`Piece ${open.piece.number} ends at ${position + at}`)
    at += count
  }
}

/** Says what the child can act on, and nothing about this machine. Every failure of the shelf is an answer: the child asks another parent. */
function errorAnswer(error: unknown): Uint8Array {
  return PeerError.is(error, 'TASK_NOT_FOUND')
    ? encodeError(vortexErrors.notFound, 'No such piece here')
    : encodeError(vortexErrors.internal, 'The piece cannot be served now')
}

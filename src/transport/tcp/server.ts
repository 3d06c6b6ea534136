import { createServer, type Server, type Socket } from 'node:net'
import { PeerError } from '../../errors.ts'
import { deferred } from '../../util/deferred.ts'
import { loadFlow } from '../../util/flow.ts'
import { abortable } from '../../util/scope.ts'
import type { TransportHost } from '../transport.ts'
import { Uploads } from '../uploads.ts'
import { addressText } from './address.ts'
import { ChildConnection, type ChildHost } from './child-connection.ts'
import type { TcpSettings } from './options.ts'
import { bufferPairsMax, ReadBuffers } from './read-buffers.ts'

/** A dead child is noticed by probes after this time of silence. */
const keepAliveDelayMs = 5000

/** The serving side: listens, and keeps the connections of the children. */
export class TcpServer {
  readonly #host: TransportHost
  readonly #childHost: ChildHost
  readonly #server: Server
  readonly #children = new Set<ChildConnection>()
  #listening: Promise<{ readonly ip: string; readonly port: number }> | undefined
  #onEmpty: (() => void) | undefined
  readonly #over = new AbortController()

  constructor(settings: TcpSettings, host: TransportHost) {
    this.#host = host
    this.#childHost = {
      uploads: new Uploads(host, 'tcp', settings.holdTimeoutMs),
      uploadRate: host.uploadRate,
      // Where the number of places changes, they are what bounds the buffers: one that is not needed is not made.
      buffers: new ReadBuffers(host.uploadPlaces === undefined ? host.uploadSlots : bufferPairsMax),
      flow: settings.native ? loadFlow() : undefined,
      settings,
      clock: host.clock,
    }
    // Half-open: a Rust child ends its half while the piece is still being sent to it.
    this.#server = createServer({
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveDelayMs,
    })
    this.#server.on('connection', (socket) => this.#onConnection(socket))
    // A close before the address is bound has no effect of its own.
    this.#server.on('listening', () => {
      if (this.#over.signal.aborted) this.#server.close()
    })
  }

  /** Resolves with where it listens. @throws PeerError LISTEN_FAILED */
  listen(): Promise<{ readonly ip: string; readonly port: number }> {
    this.#listening ??= this.#listen()
    return this.#listening
  }

  /** What is open now, as plain data. */
  explain(): unknown {
    return { connections: this.#children.size, uploads: this.#childHost.uploads.explain() }
  }

  /** No new children and no new requests; resolves when what was asked is sent, or `destroy()` was called. */
  async close(): Promise<void> {
    this.#stopListening()
    for (const child of this.#children) child.end()
    if (this.#children.size === 0) return
    const empty = deferred<void>()
    this.#onEmpty = empty.resolve
    await empty.promise
  }

  /** Closes everything now. */
  destroy(): void {
    this.#stopListening()
    for (const child of this.#children) child.destroy()
  }

  #stopListening(): void {
    this.#over.abort(
      new PeerError('CLOSED', 'The TCP transport is closed', { what: 'TCP transport' }),
    )
    this.#server.close()
  }

  async #listen(): Promise<{ readonly ip: string; readonly port: number }> {
    const { ip, port } = this.#host.listen
    const listening = deferred<void>()
    this.#server.once('error', listening.reject)
    this.#server.listen({ host: ip, port }, listening.resolve)
    try {
      await abortable(listening.promise, this.#over.signal)
    } catch (error) {
      this.#over.signal.throwIfAborted()
      const address = addressText(ip, port)
      const reason = error instanceof Error && 'code' in error ? String(error.code) : String(error)
      throw new PeerError(
        'LISTEN_FAILED',
        `Cannot listen on ${address}: ${reason}`,
        { address, reason },
        { cause: error },
      )
    }
    this.#server.off('error', listening.reject)
    // From now on an error is an accept that failed, for want of descriptors mostly. The child tries again; those that are here go on.
    this.#server.on('error', () => undefined)
    const bound = this.#server.address()
    if (bound === null || typeof bound === 'string') throw new TypeError('Not a TCP address')
    return { ip: bound.address, port: bound.port }
  }

  #onConnection(socket: Socket): void {
    if (this.#children.size >= this.#childHost.settings.connectionsMax && !this.#makeRoom()) {
      socket.destroy()
      return
    }
    const child = new ChildConnection(socket, this.#childHost)
    this.#children.add(child)
    socket.once('close', () => {
      this.#children.delete(child)
      if (this.#children.size === 0) this.#onEmpty?.()
    })
    void child.run()
  }
  /** Whoever connects and asks nothing must not keep others out: the oldest that has never asked goes, else the oldest that asks nothing now. */
  #makeRoom(): boolean {
    let idle: ChildConnection | undefined
    for (const child of this.#children) {
      if (!child.waiting) continue
      idle ??= child
      if (child.asked) continue
      idle = child
      break
    }
    if (idle === undefined) return false
    this.#children.delete(idle)
    idle.destroy()
    return true
  }
}

import type { Transport } from '@connectrpc/connect'

import type { Clock } from '../../util/clock.ts'
import { type Pinged, Vigil } from '../vigil.ts'
import type { HostRecord } from './host-record.ts'

/** Makes calls to the upload services of hosts, at most so many at a time. A host that gives no sign of life has failed, however long it may take otherwise. */
export class HostCalls {
  readonly #dial: Dial | undefined
  readonly #callsMax: number
  readonly #lifetime = new AbortController()
  readonly #vigil: Vigil
  #running = 0

  constructor(dial: Dial | undefined, callsMax: number, clock: Clock) {
    this.#dial = dial
    this.#callsMax = callsMax
    this.#vigil = new Vigil(clock)
  }

  /** Whether another call may be made now. */
  get free(): boolean {
    return this.#dial !== undefined && this.#running < this.#callsMax && !this.closed
  }

  /** How many run. */
  get running(): number {
    return this.#running
  }

  /** Whether the scheduler is closed. */
  get closed(): boolean {
    return this.#lifetime.signal.aborted
  }

  /** Runs one call. Never rejects: true when it went well. Whatever else it throws is the other host's failure. */
  async run(
    host: HostRecord,
    port: number,
    call: (transport: Transport, signal: AbortSignal) => Promise<void>,
  ): Promise<boolean> {
    if (this.#dial === undefined || !this.free) return false
    const end = new AbortController()
    const stop = (): void => end.abort()
    this.#lifetime.signal.addEventListener('abort', stop, { once: true })
    this.#running++
    let ended = (): void => undefined
    try {
      const transport = this.#dial({ id: host.id, ip: host.facts.ip, port })
      ended = this.#vigil.begin(transport, stop)
      await call(transport, end.signal)
      return true
    } catch {
      // Which failure it was makes no difference: another host is asked.
      return false
    } finally {
      this.#running--
      ended()
      // A stream that is left is not ended by that; this does it.
      stop()
      this.#lifetime.signal.removeEventListener('abort', stop)
    }
  }

  /** Ends all calls; no more are made. */
  close(): void {
    this.#lifetime.abort()
    this.#vigil.close()
  }
}

/** Makes the transport to the upload service of a host. Whoever gives it also closes it. */
export type Dial = (host: {
  readonly id: string
  readonly ip: string
  readonly port: number
}) => Transport & Pinged

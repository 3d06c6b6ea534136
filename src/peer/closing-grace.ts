import { PeerError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'

/** How long a closing peer bears readers that stand still. */
export class ClosingGrace {
  readonly #closing: AbortSignal
  readonly #clock: Clock
  readonly #timeoutMs: number

  /** @param closing - fires when the peer begins to close */
  constructor(closing: AbortSignal, clock: Clock, timeoutMs: number) {
    this.#closing = closing
    this.#clock = clock
    this.#timeoutMs = timeoutMs
  }

  /** A reader has got something and does not ask for more. Calls when that has lasted too long while the peer closes. The returned function ends it. */
  standing(call: () => void): () => void {
    let cancel = (): void => undefined
    const begin = (): void => {
      cancel = this.#clock.after(this.#timeoutMs, call)
    }
    if (this.#closing.aborted) begin()
    else this.#closing.addEventListener('abort', begin, { once: true })
    return () => {
      this.#closing.removeEventListener('abort', begin)
      cancel()
    }
  }
}

/** What a reader gets that asked for nothing while the peer closed. */
export function stoodStill(): PeerError<'CLOSED'> {
  return new PeerError('CLOSED', 'The peer closed while the reader stood still', { what: 'peer' })
}

import { Code, ConnectError } from '@connectrpc/connect'
import { Pulse } from '../task/pulse.ts'
import type { Clock } from '../util/clock.ts'
import { Scope } from '../util/scope.ts'

/** A way to somebody who can be asked for a sign of life; see `Channel`. Without `ping` there is no connection that could be dead. */
export interface Pinged {
  ping?(): Promise<void>
}

interface Wait {
  readonly id: string
  readonly ping: () => Promise<void>
  readonly onSilent: (error: ConnectError) => void
}

/**
 * Looks after those who owe an answer: one who is busy gives signs of life all the same, and is waited for as long as the asker likes; one who does not is gone, which is
 * noticed 3 to 3.5 s after the question. See `Pulse`.
 */
export class Vigil {
  /** As many as calls are under way. */
  readonly #waits = new Set<Wait>()
  readonly #end = new AbortController()
  readonly #pulse: Pulse<Wait>
  #count = 0

  constructor(clock: Clock) {
    this.#pulse = new Pulse<Wait>(
      { clock, ping: ({ ping }) => ping(), awaited: () => [...this.#waits] },
      (wait, silentMs) => {
        this.#waits.delete(wait)
        const reason = `no sign of life for ${silentMs} ms`
        wait.onSilent(new ConnectError(reason, Code.Unavailable))
      },
      this.#end.signal,
    )
  }

  /** An answer is due. The returned function says that it is not any more: it came, or nobody waits for it. Safe to call twice. */
  begin(asked: Pinged, onSilent: (error: ConnectError) => void): () => void {
    if (asked.ping === undefined) return () => undefined
    const wait = { id: `${this.#count++}`, ping: () => this.#ping(asked), onSilent }
    this.#waits.add(wait)
    this.#pulse.look()
    return () => this.#waits.delete(wait)
  }

  /** Makes a call. Rejects with what it fails with: with `Unavailable` when who is asked gives no sign of life meanwhile. */
  async call<T>(
    asked: Pinged,
    call: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    using scope = new Scope([signal])
    let silence: ConnectError | undefined
    const answered = this.begin(asked, (error) => {
      silence = error
      scope.abort(error)
    })
    try {
      return await call(scope.signal)
    } catch (error) {
      throw silence ?? error
    } finally {
      answered()
    }
  }

  /** Looks after nobody any more. */
  close(): void {
    this.#end.abort()
  }

  async #ping(asked: Pinged): Promise<void> {
    await asked.ping?.()
  }
}

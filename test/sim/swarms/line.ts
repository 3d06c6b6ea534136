import { type Deferred, deferred } from '../../../src/util/deferred.ts'
import type { Network } from './network.ts'

/** Messages that are on their way on one line at most; then the sender waits, as for a window of HTTP/2. */
export const windowMax = 64

type Sent<T> = { readonly dueMs: number } & (
  | { readonly is: 'item'; readonly item: T }
  | { readonly is: 'end'; readonly error: unknown }
)

/**
 * One direction of a stream: what is read from the source arrives on the other side later, in order. It ends when the source ends, with the error of
 * the source if it has one, and with the reason of the signal.
 */
export async function* line<T>(
  network: Network,
  from: string,
  to: string,
  source: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  const way = new Way<T>(network, from, to, signal)
  void way.feed(source)
  try {
    yield* way.arrivals()
  } finally {
    way.close()
  }
}

/** Why waiting ends when nobody takes what arrives any more. It never leaves this file. */
const closed = new Error('The line is closed')

class Way<T> {
  readonly #network: Network
  readonly #from: string
  readonly #to: string
  readonly #signal: AbortSignal
  readonly #sent: Sent<T>[] = []
  readonly #arrived: Sent<T>[] = []
  #changed: Deferred<void> = deferred()
  #moving = false
  #closed = false
  readonly #stop = new AbortController()
  readonly #onAbort = (): void => this.#fail()

  constructor(network: Network, from: string, to: string, signal: AbortSignal) {
    this.#network = network
    this.#from = from
    this.#to = to
    this.#signal = signal
    if (signal.aborted) this.#fail()
    else signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  async feed(source: AsyncIterable<T>): Promise<void> {
    let error: unknown
    try {
      for await (const item of source) {
        if (this.#closed) return
        this.#send({ is: 'item', item, dueMs: this.#due() })
        while (this.#sent.length >= windowMax && !this.#closed) await this.#changed.promise
      }
    } catch (thrown) {
      error = thrown
    }
    if (!this.#closed) this.#send({ is: 'end', error, dueMs: this.#due() })
  }

  async *arrivals(): AsyncGenerator<T, void, undefined> {
    for (;;) {
      this.#signal.throwIfAborted()
      const next = this.#arrived.shift()
      if (next === undefined) {
        await this.#changed.promise
      } else if (next.is === 'item') {
        yield next.item
      } else {
        if (next.error !== undefined) throw next.error
        return
      }
    }
  }

  close(): void {
    this.#closed = true
    this.#signal.removeEventListener('abort', this.#onAbort)
    this.#stop.abort(closed)
    this.#change()
  }

  #due(): number {
    return this.#network.clock.now() + this.#network.latencyMs(this.#from, this.#to)
  }

  #send(sent: Sent<T>): void {
    this.#sent.push(sent)
    if (!this.#moving) void this.#move()
  }

  /** Carries what was sent to the other side, one after the other. */
  async #move(): Promise<void> {
    this.#moving = true
    const { clock } = this.#network
    try {
      for (let next = this.#sent[0]; next !== undefined; next = this.#sent[0]) {
        if (this.#network.blocked(this.#from, this.#to)) {
          await this.#network.healed(this.#from, this.#to, this.#stop.signal)
        }
        const leftMs = next.dueMs - clock.now()
        if (leftMs > 0) {
          await clock.sleep(leftMs, this.#stop.signal)
          continue
        }
        this.#sent.shift()
        this.#arrived.push(next)
        this.#change()
      }
    } catch {
      // Closed meanwhile: what was on its way is gone.
    }
    this.#moving = false
  }

  #fail(): void {
    this.#change()
  }

  #change(): void {
    this.#changed.resolve()
    this.#changed = deferred()
  }
}

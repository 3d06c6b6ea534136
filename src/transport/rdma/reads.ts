import type { Clock } from '../../util/clock.ts'
import { readsOutMax, windowBytesMax } from './limits.ts'
import type { NativeQueuePair, NativeRdma, NativeRegistration } from './native.ts'
import { nativeReason } from './native-failure.ts'

/** What reading over one queue pair needs. */
export interface ReadsHost {
  readonly native: NativeRdma
  readonly queuePair: NativeQueuePair
  /** READs on their way at most. */
  readonly readsMax: number
  readonly stallTimeoutMs: number
  readonly clock: Clock
  /** The connection is broken; called once. */
  onBroken(reason: string, cause: unknown): void
}

interface Waiter {
  readonly byteLength: number
  readonly go: () => void
}

/** Why a read did not happen or did not end. The connection knows the reason. */
export class ReadFailed extends Error {
  override readonly name = 'ReadFailed'
}

/**
 * The READs of one connection: some are on their way, the others wait for their turn, first come, first served, so that each piece gets its share. A piece asks
 * for one turn at a time. No completion for `stallTimeoutMs` breaks the connection.
 */
export class Reads {
  readonly #host: ReadsHost
  readonly #readsMax: number
  readonly #waiting = new Set<Waiter>()
  #count = 0
  #bytes = 0
  /** Those of them that the device has. */
  #posted = 0
  #movedAt = 0
  #stopTimer: (() => void) | undefined
  #over = false

  constructor(host: ReadsHost) {
    this.#host = host
    this.#readsMax = Math.min(host.readsMax, readsOutMax)
  }

  /** READs on their way or about to be. */
  get count(): number {
    return this.#count
  }

  /** Resolves when it is the caller's turn: then it calls `read()` or `skip()`. Rejects with the reason of `signal`. */
  async turn(byteLength: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#waiting.size === 0 && this.#fits(byteLength)) return this.#begin(byteLength)
    await new Promise<void>((resolve, reject) => {
      const waiter: Waiter = {
        byteLength,
        go: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      const leave = (): void => {
        this.#waiting.delete(waiter)
        this.#advance()
        reject(signal.reason)
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.add(waiter)
    })
  }

  /** Gives the turn back. */
  skip(byteLength: number): void {
    this.#end(byteLength)
  }

  /** Resolves when the bytes are there. Rejects with `ReadFailed`, and then nothing writes to the memory any more. */
  async read(
    into: {
      readonly registration: NativeRegistration
      readonly offset: number
      readonly byteLength: number
    },
    from: { readonly address: bigint; readonly key: number },
  ): Promise<void> {
    try {
      if (this.#over) throw new ReadFailed('The connection is over')
      await this.#post(into, from)
    } catch (error) {
      this.#break(nativeReason(error), error)
      throw error instanceof ReadFailed ? error : new ReadFailed('A read failed', { cause: error })
    } finally {
      this.#end(into.byteLength)
    }
  }

  /** No READ begins any more. */
  close(): void {
    this.#over = true
    this.#stopTimer?.()
    this.#stopTimer = undefined
  }

  #fits(byteLength: number): boolean {
    if (this.#count === 0) return true
    return this.#count < this.#readsMax && this.#bytes + byteLength <= windowBytesMax
  }

  #begin(byteLength: number): void {
    this.#count++
    this.#bytes += byteLength
  }

  #end(byteLength: number): void {
    this.#count--
    this.#bytes -= byteLength
    this.#advance()
  }

  #advance(): void {
    for (const waiter of this.#waiting) {
      if (!this.#fits(waiter.byteLength)) return
      this.#begin(waiter.byteLength)
      this.#waiting.delete(waiter)
      waiter.go()
    }
  }

  #break(reason: string, cause: unknown): void {
    if (this.#over) return
    this.close()
    this.#host.onBroken(reason, cause)
  }

  async #post(...[into, from]: Parameters<Reads['read']>): Promise<void> {
    const { native, queuePair, clock, stallTimeoutMs } = this.#host
    if (this.#posted === 0) this.#movedAt = clock.now()
    if (this.#stopTimer === undefined) this.#look(stallTimeoutMs)
    this.#posted++
    try {
      await native.read(queuePair, into, from)
      this.#movedAt = clock.now()
    } finally {
      this.#posted--
    }
  }

  /** One timer for all of them: it looks when the last one ended. */

  #look(delayMs: number): void {
    const { clock, stallTimeoutMs } = this.#host
    this.#stopTimer = clock.after(delayMs, () => {
      // When this process itself stood still, timers come before completions that have been there for long.
      setImmediate(() => {
        if (this.#over || this.#stopTimer === undefined) return
        this.#stopTimer = undefined
        if (this.#posted === 0) return
        const leftMs = this.#movedAt + stallTimeoutMs - clock.now()
        if (leftMs > 0) this.#look(leftMs)
        else this.#break(`No read ended within ${stallTimeoutMs} ms`, undefined)
      })
    })
  }
}

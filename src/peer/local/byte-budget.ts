interface Waiter {
  readonly byteCount: number
  readonly go: () => void
}

/**
 * Bytes of memory that several share, first come, first served. Who wants more than there is gets it when nobody else has any.
 */
export class ByteBudget {
  readonly #bytesMax: number
  readonly #waiting = new Set<Waiter>()
  #taken = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Bytes in use. */
  get taken(): number {
    return this.#taken
  }

  /** Resolves when there is room; dispose the result to give it back. Rejects with `signal.reason`; then nothing was taken. */
  async take(byteCount: number, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    if (this.#waiting.size > 0 || !this.#fits(byteCount)) await this.#wait(byteCount, signal)
    else this.#taken += byteCount
    let held = true
    return {
      [Symbol.dispose]: () => {
        if (!held) return
        held = false
        this.#taken -= byteCount
        this.#advance()
      },
    }
  }

  #wait(byteCount: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(waiter)
        this.#advance()
        reject(signal.reason)
      }
      const waiter: Waiter = {
        byteCount,
        go: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.add(waiter)
    })
  }

  #advance(): void {
    for (const waiter of this.#waiting) {
      if (!this.#fits(waiter.byteCount)) return
      this.#waiting.delete(waiter)
      this.#taken += waiter.byteCount
      waiter.go()
    }
  }

  #fits(byteCount: number): boolean {
    return this.#taken === 0 || this.#taken + byteCount <= this.#bytesMax
  }
}

import { ByteBudget } from './byte-budget.ts'

/** Longest memory that is kept for the next piece: as long as most pieces are, or twice that. */
export const keptMemoryBytesMax: number = 8 * 1024 * 1024
/** How many of them are kept at most: 32 MiB. */
export const keptMemoriesMax: number = 4

/** Memory for the bytes of one piece, until it is disposed. */
export interface Loan extends Disposable {
  /** As long as was asked for; made when it is first used. Holds what the one before left there. */
  readonly bytes: Uint8Array
}

/** Memory for pieces on their way to tools: bounded, and used again, since making and dropping megabytes costs more than filling them. */
export class TransferMemory {
  readonly #budget: ByteBudget
  readonly #kept: Uint8Array[] = []

  /** @param bytesMax - bytes that are lent at the same time; one loan may be longer when it is the only one */
  constructor(bytesMax: number) {
    this.#budget = new ByteBudget(bytesMax)
  }

  /** Bytes that are lent now. */
  get lentBytes(): number {
    return this.#budget.taken
  }

  /** Resolves when there is room. Rejects with `signal.reason`; then nothing was lent. */
  async lend(byteCount: number, signal: AbortSignal): Promise<Loan> {
    const room = await this.#budget.take(byteCount, signal)
    let memory: Uint8Array | undefined
    const take = (): Uint8Array => this.#take(byteCount)
    return {
      get bytes() {
        memory ??= take()
        return memory.subarray(0, byteCount)
      },
      [Symbol.dispose]: () => {
        if (memory !== undefined) this.#keep(memory)
        memory = undefined
        room[Symbol.dispose]()
      },
    }
  }

  #take(byteCount: number): Uint8Array {
    const at = this.#kept.findIndex(({ length }) => length >= byteCount)
    return at === -1 ? new Uint8Array(byteCount) : (this.#kept.splice(at, 1)[0] as Uint8Array)
  }

  /** The longest are the most useful. */
  #keep(memory: Uint8Array): void {
    if (memory.length > keptMemoryBytesMax) return
    this.#kept.push(memory)
    if (this.#kept.length <= keptMemoriesMax) return
    this.#kept.sort((one, other) => other.length - one.length).pop()
  }
}

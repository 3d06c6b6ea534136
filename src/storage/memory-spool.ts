import { PeerError } from '../errors.ts'
import { growth, type Quota } from './quota.ts'
import type { KeptTask, Spool, TaskRecord } from './store.ts'

/** What a memory spool needs from its store. */
export interface MemorySpoolHost {
  readonly quota: Quota
  /** Fires with a `CLOSED` error when the store closes. */
  readonly lifetime: AbortSignal
  /** Takes the content over. Its bytes stay counted for the spool until this resolves. */
  take(
    record: TaskRecord,
    content: { readonly length: number; readonly blocks: Uint8Array[] },
    pieceLength?: number,
  ): Promise<KeptTask>
}

/** Content on its way into memory, in blocks, because its length is not known. While it is put together at the end it takes its length twice. */
export class MemorySpool implements Spool {
  readonly #host: MemorySpoolHost
  readonly #blocks: Uint8Array[] = []
  #length = 0
  /** Bytes of all blocks. */
  #taken = 0
  #open = true
  #tail: Promise<void> = Promise.resolve()

  constructor(host: MemorySpoolHost) {
    this.#host = host
  }

  get length(): number {
    return this.#length
  }

  write(chunk: Uint8Array): Promise<void> {
    return this.#inTurn(async () => {
      this.#refuseEnded()
      for (let at = 0; at < chunk.length; ) {
        if (this.#length === this.#taken) await this.#grow()
        const block = this.#blocks.at(-1)
        if (block === undefined) return
        const from = block.length - (this.#taken - this.#length)
        const part = chunk.subarray(at, at + block.length - from)
        block.set(part, from)
        at += part.length
        this.#length += part.length
      }
    })
  }

  finish(record: TaskRecord, pieceLength?: number): Promise<KeptTask> {
    return this.#inTurn(async () => {
      this.#refuseEnded()
      this.#open = false
      const content = { length: this.#length, blocks: this.#blocks }
      try {
        return await this.#host.take(record, content, pieceLength)
      } finally {
        this.#drop()
      }
    })
  }

  discard(): Promise<void> {
    return this.#inTurn(() => {
      if (this.#open) this.#drop()
      this.#open = false
      return Promise.resolve()
    })
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work)
    this.#tail = result.then(
      () => undefined,
      // The caller of `work` is told; the next in turn only waits for its end.
      () => undefined,
    )
    return result
  }

  async #grow(): Promise<void> {
    const bytes = growth(this.#length)
    await this.#host.quota.take(bytes)
    this.#blocks.push(new Uint8Array(bytes))
    this.#taken += bytes
  }

  #drop(): void {
    this.#host.quota.give(this.#taken)
    this.#taken = 0
    this.#blocks.length = 0
  }

  #refuseEnded(): void {
    this.#host.lifetime.throwIfAborted()
    if (!this.#open) throw new PeerError('CLOSED', 'The spool has ended', { what: 'spool' })
  }
}

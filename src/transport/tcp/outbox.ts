import type { Socket } from 'node:net'
import type { Clock } from '../../util/clock.ts'
import { partBytes } from './read-buffers.ts'

/** Writes to a child, and watches that it takes what is written. */
export class Outbox {
  readonly #socket: Socket
  readonly #clock: Clock
  readonly #stallTimeoutMs: number
  #pending = 0
  #movedAt = 0
  /** Bytes that went by another way since that time. */
  #passed = 0
  #stopTimer: (() => void) | undefined

  constructor(socket: Socket, clock: Clock, stallTimeoutMs: number) {
    this.#socket = socket
    this.#clock = clock
    this.#stallTimeoutMs = stallTimeoutMs
  }

  /**
   * Hands chunks to the socket, in one segment where they fit. Resolves when the kernel has taken all of them, or the socket is gone: in both cases their
   * memory is free again. Never rejects; whether the child is there is another question.
   */
  async write(...chunks: readonly Uint8Array[]): Promise<void> {
    if (this.#socket.destroyed) return
    if (this.#pending === 0) this.#movedAt = this.#clock.now()
    this.#pending++
    this.#watch(this.#stallTimeoutMs)
    await new Promise<void>((resolve) => {
      this.#socket.cork()
      chunks.forEach((chunk, at) => {
        this.#socket.write(chunk, at === chunks.length - 1 ? () => resolve() : undefined)
      })
      this.#socket.uncork()
    })
    this.#pending--
    this.#movedAt = this.#clock.now()
  }

  /** From now on bytes go to the child by another way; `passed` and `end` say what becomes of them. */
  begin(): void {
    if (this.#pending === 0) this.#movedAt = this.#clock.now()
    this.#pending++
    this.#passed = 0
    this.#watch(this.#stallTimeoutMs)
  }

  /** So many went that way. A part as long as one that is written counts as progress, and less does not: a child that takes a byte now and then keeps its place for nothing. */
  passed(count: number): void {
    this.#passed += count
    if (this.#passed < partBytes) return
    this.#passed = 0
    this.#movedAt = this.#clock.now()
  }

  /** No more go that way. */
  end(): void {
    this.#pending--
    this.#movedAt = this.#clock.now()
  }

  /** Lets go of the timer. */
  stop(): void {
    this.#stopTimer?.()
    this.#stopTimer = undefined
  }

  /** One timer at a time: it looks when the child last took something, and cuts one that does not. */
  #watch(delayMs: number): void {
    if (this.#stopTimer !== undefined) return
    this.#stopTimer = this.#clock.after(delayMs, () => {
      this.#stopTimer = undefined
      if (this.#pending === 0 || this.#socket.destroyed) return
      const leftMs = this.#movedAt + this.#stallTimeoutMs - this.#clock.now()
      if (leftMs > 0) this.#watch(leftMs)
      else this.#socket.destroy()
    })
  }
}

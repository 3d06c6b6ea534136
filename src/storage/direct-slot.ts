import type { Piece } from '../task/piece.ts'
import { type Deferred, deferred } from '../util/deferred.ts'
import { move } from '../util/flow-move.ts'
import { FillSlot, released } from './fill-slot.ts'
import type { OwnMemory } from './own-memory.ts'
import type { PieceSum } from './piece-sum.ts'

/** What a slot in memory holds until its end. */
export interface DirectSlotParts {
  readonly sum: PieceSum
  /** The place of the piece. */
  readonly memory: Uint8Array
  /** Whose that is. */
  readonly whose: OwnMemory
  /** Called when nothing of the slot is on its way any more. */
  readonly onEnd: () => void
}

/** A slot that leads straight into memory. */
export class DirectSlot extends FillSlot {
  readonly fillFrom: ((socket: number, signal: AbortSignal) => Promise<number>) | undefined
  readonly #parts: DirectSlotParts
  #digested = 0
  /** A transfer of the addon is under way. */
  #moving: Deferred<void> | undefined

  constructor(task: object, piece: Piece, parts: DirectSlotParts) {
    super(task, piece, parts.sum)
    this.#parts = parts
    if (parts.whose.own && parts.sum.native !== undefined) {
      this.fillFrom = (socket, signal) => this.#fillFrom(socket, signal)
    }
  }

  drained(): Promise<void> {
    return this.released ? Promise.reject(released()) : Promise.resolve()
  }

  protected memory(): Uint8Array {
    return this.#parts.memory.subarray(this.filled)
  }

  protected took(): void {
    const whole = this.filled === this.#parts.memory.length
    this.#digested = this.digest(this.#parts.memory, this.#digested, this.filled, whole)
  }

  protected settled(): Promise<void> {
    return Promise.resolve()
  }

  /** Bytes that come late would lie over new ones. */
  protected async rewound(): Promise<void> {
    await this.#moving?.promise
    this.#digested = 0
  }

  protected freed(): void {
    if (this.#moving === undefined) this.#parts.onEnd()
  }

  /** The addon reads the socket and digests. What came counts in any case. */
  async #fillFrom(socket: number, signal: AbortSignal): Promise<number> {
    const { native } = this.sum
    if (this.released) throw released()
    if (native === undefined || this.#moving !== undefined) return 0
    this.#digested = this.digest(this.#parts.memory, this.#digested, this.filled, true)
    const { flow, sums } = native
    const memory = this.memory()
    this.#moving = deferred()
    try {
      return await this.#parts.whose.use(async (stop) => {
        const { count, socketFailed } = await move(
          (done) => (this.transfer = flow.fill(socket, memory, done, sums)),
          (id) => flow.cancel(id),
          stop,
          (came) => {
            this.#digested += came
            this.passed(came)
          },
        )
        return socketFailed ? 0 : count
      }, signal)
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ERR_FLOW') return 0
      throw error
    } finally {
      this.transfer = undefined
      this.#moving.resolve()
      this.#moving = undefined
      if (this.released) this.#parts.onEnd()
    }
  }
}

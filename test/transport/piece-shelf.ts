import { PeerError } from '../../src/errors.ts'
import { crc32 } from '../../src/hash/crc32.ts'
import type { TaskKind } from '../../src/task/kind.ts'
import { type Geometry, geometry, type Piece, pieceAt } from '../../src/task/piece.ts'
import type { OpenPiece, Shelf } from '../../src/task/ports.ts'
import { type Deferred, deferred } from '../../src/util/deferred.ts'
import { abortable } from '../../src/util/scope.ts'

/** A task id that is as good as any. */
export const taskId: string = '5844f27a257287e9b734256bb25603d8005422ced8c0377f15063ec11963b25f'

/** Bytes in which a wrong place shows: no period that a buffer size could hide. */
export function contentOf(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  let state = (seed * 2_654_435_761) >>> 0 || 1
  const words = Math.floor(length / 4)
  for (let at = 0; at < words; at++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    bytes.writeInt32LE(state | 0, at * 4)
  }
  for (let at = words * 4; at < length; at++) bytes[at] = at & 255
  return bytes
}

/** One task on a shelf, with handles on what a real store would only do now and then. */
export class PieceShelf implements Shelf {
  readonly content: Buffer
  readonly cut: Geometry
  /** Whether pieces are handed out as memory, or must be read as from a disk. */
  readonly #where: 'memory' | 'disk'
  readonly #held = new Map<number, Deferred<void>>()
  /** What was asked of the shelf. */
  readonly asked: { readonly taskId: string; readonly kind: TaskKind; readonly number: number }[] =
    []
  /** Pieces open now. */
  openCount = 0
  /** Changes what is told about a piece. */
  lie: (piece: Piece) => Piece = (piece) => piece
  /** Runs before each read from disk. */
  beforeRead: (position: number) => Promise<void> | undefined = () => undefined
  /** Thrown by `open`. */
  failure: unknown

  constructor(content: Buffer, pieceLength: number, where: 'memory' | 'disk' = 'memory') {
    this.content = content
    this.cut = geometry(content.length, pieceLength)
    this.#where = where
  }

  /** The piece is on its way from now on. */
  hold(number: number): void {
    this.#held.set(number, deferred())
  }

  /** It has arrived. */
  arrive(number: number): void {
    this.#held.get(number)?.resolve()
    this.#held.delete(number)
  }

  async open(
    request: { readonly taskId: string; readonly kind: TaskKind; readonly number: number },
    signal: AbortSignal,
  ): Promise<OpenPiece> {
    this.asked.push(request)
    if (this.failure !== undefined) throw this.failure
    const { number } = request
    if (request.taskId !== taskId || number >= this.cut.pieceCount) {
      throw new PeerError('TASK_NOT_FOUND', 'No such piece', { task: request.taskId })
    }
    const held = this.#held.get(number)
    if (held !== undefined) await abortable(held.promise, signal)
    return this.#opened(pieceAt(this.cut, number))
  }

  #opened(piece: Piece): OpenPiece {
    this.openCount++
    let isOpen = true
    const bytes = this.content.subarray(piece.offset, piece.offset + piece.length)
    return {
      piece: this.lie(piece),
      digest: `crc32:${crc32(bytes)}`,
      parentId: '127.0.0.1-localhost-seed',
      createdAt: 1_755_600_000_000,
      memory: this.#where === 'memory' ? bytes : undefined,
      content: this.#where === 'memory' ? this.content : undefined,
      read: async (into, position) => {
        await this.beforeRead(position)
        // Short reads are allowed, and real.
        const count = Math.min(into.length, piece.length - position, 100_000)
        into.set(bytes.subarray(position, position + count))
        return count
      },
      close: () => {
        if (isOpen) this.openCount--
        isOpen = false
      },
    }
  }
}

import { PeerError } from '../../../../src/errors.ts'
import { crc32 } from '../../../../src/hash/crc32.ts'
import type { Piece } from '../../../../src/task/piece.ts'
import type { OpenPiece, Shelf } from '../../../../src/task/ports.ts'
import { Content } from '../../../support/content.ts'
import { taskId } from '../../../transport/piece-shelf.ts'

/** Lengths of pieces, in turn: odd and even, of one byte and of half a megabyte, within a page and over many. */
const lengths = [1, 4096, 65_537, 100_003, 131_072, 196_608, 262_143, 524_288] as const

/** Bytes that all pieces are parts of. */
export const baseBytes: number = 32 * 1024 * 1024

/** Between the beginnings of two neighbours: prime, so that no two of the first millions of pieces begin at the same byte. */
const stride = 4_999_999

/** Length of the longest piece. */
export const lengthMax: number = Math.max(...lengths)

/** Where a piece lies in the base. */
export function partOf(number: number): { readonly start: number; readonly length: number } {
  const length = lengths[number % lengths.length] ?? 0
  return { start: (number * stride) % (baseBytes - lengthMax), length }
}

/** What all pieces are parts of, in memory of the caller. */
export function base(memory: Uint8Array = new Uint8Array(baseBytes)): Uint8Array {
  new Content(baseBytes, 99).fill(memory, 0)
  return memory
}

/** The piece as it is asked for: its offset in a content of which it is a part. */
export function mixedPiece(number: number): Piece {
  const round = lengths.reduce((sum, length) => sum + length, 0)
  const before = lengths.slice(0, number % lengths.length)
  const offset = Math.floor(number / lengths.length) * round
  const { length } = partOf(number)
  return { number, offset: before.reduce((sum, each) => sum + each, offset), length }
}

/** Any number of pieces of mixed lengths. In turn they lie in registered memory, in ordinary memory, and on something like a disk. */
export class MixedShelf implements Shelf {
  readonly #registered: Uint8Array
  readonly #ordinary: Uint8Array

  /** @param registered - memory of the transport's `allocate()` */
  constructor(registered: Uint8Array) {
    this.#registered = base(registered)
    this.#ordinary = registered.slice()
  }

  async open(request: { readonly taskId: string; readonly number: number }): Promise<OpenPiece> {
    if (request.taskId !== taskId) {
      throw new PeerError('TASK_NOT_FOUND', 'No such task', { task: request.taskId })
    }
    const { number } = request
    const { start, length } = partOf(number)
    const content = number % 3 === 0 ? this.#registered : this.#ordinary
    const bytes = content.subarray(start, start + length)
    return {
      piece: mixedPiece(number),
      digest: `crc32:${crc32(bytes)}`,
      parentId: '',
      createdAt: 0,
      ...(number % 3 === 2 ? { memory: undefined } : { memory: bytes, content }),
      read: async (into, position) => {
        const part = bytes.subarray(position, position + into.length)
        into.set(part)
        return part.length
      },
      close: () => undefined,
    }
  }
}

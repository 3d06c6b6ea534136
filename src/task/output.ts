import { PeerError } from '../errors.ts'
import { abortable } from '../util/scope.ts'
import type { TaskKind } from './kind.ts'
import { type Geometry, numbersIn, overlap, pieceAt, type Range } from './piece.ts'
import type { OpenPiece, Shelf } from './ports.ts'
import type { Share } from './share.ts'

/** Largest part that is read from disk at once, in bytes; each is memory of its own that the consumer may keep. */
export const outputPartBytesMax: number = 1024 * 1024
/** Pieces from the reading position on that are fetched before others. */
export const outputWindow: number = 4

/** What is read, and from where. */
export interface OutputRequest {
  readonly shelf: Shelf
  readonly taskId: string
  readonly kind: TaskKind
  readonly cut: Geometry
  /** Waited for, piece by piece. Left out when all that is read is kept already. */
  readonly share?: Pick<Share, 'wait' | 'urge'>
  /** The part to read; all of the content without. An end past the content is cut. */
  readonly range?: Range
}

/**
 * The content, or a range of it, in order, while it is still coming. The next pieces are urged; nothing is read ahead, so a consumer that pauses
 * holds one open piece at most and blocks nothing else. Chunks of a task in memory are views of its content: read only, never copies.
 * Whoever stops early must end the generator (`break`, `return()`), which closes what is open; it does not leave the share.
 *
 * @throws PeerError whatever ended the run, STORE_FAILED, STORE_CORRUPT, FILE_CHANGED; RangeError for a range that is not in the content;
 *   the signal's reason when it fires
 */
export async function* output(
  request: OutputRequest,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { shelf, taskId, kind, cut, share } = request
  const range = request.range ?? { start: 0, length: cut.contentLength }
  const numbers = numbersIn(cut, request.range)
  for (const [at, number] of numbers.entries()) {
    signal.throwIfAborted()
    if (share !== undefined) {
      share.urge(numbers.slice(at, at + outputWindow))
      await abortable(share.wait(number), signal)
    }
    const open = await shelf.open({ taskId, kind, number }, signal)
    try {
      const piece = pieceAt(cut, number)
      const part = overlap(piece, range)
      if (part === undefined) continue
      yield* chunks(open, part.start - piece.offset, part.length, signal)
    } finally {
      open.close()
    }
  }
}

/** `length` bytes of an open piece from `start` on. */
async function* chunks(
  open: OpenPiece,
  start: number,
  length: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (open.memory !== undefined) {
    await open.lend?.()
    yield open.memory.subarray(start, start + length)
    return
  }
  const end = start + length
  for (let position = start; position < end; ) {
    signal.throwIfAborted()
    const into = new Uint8Array(Math.min(outputPartBytesMax, end - position))
    const count = await open.read(into, position)
    if (count === 0) throw endedEarly(position, end)
    position += count
    yield into.subarray(0, count)
  }
}

function endedEarly(position: number, end: number): PeerError<'STORE_FAILED'> {
  return new PeerError('STORE_FAILED', `A kept piece ends at byte ${position} instead of ${end}`, {
    path: '',
    operation: 'read',
    errno: 'EOF',
  })
}

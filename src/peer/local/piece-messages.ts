import type { MessageInitShape } from '@bufbuild/protobuf'
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt'
import { PeerError } from '../../errors.ts'
import { type PieceSchema, TrafficType } from '../../rpc/gen/common/v2/common_pb.ts'
import type { KeptTask } from '../../storage/store.ts'
import { originId } from '../../task/plan.ts'
import { pieceAt } from '../../task/piece.ts'
import type { OpenPiece } from '../../task/ports.ts'
import { Bitmap } from '../../util/bitmap.ts'
import { pieceNews } from '../piece-news.ts'
import type { Opened } from '../tasks.ts'
import type { Loan, TransferMemory } from './transfer-memory.ts'

/** A piece on the wire. */
export type PieceMessage = MessageInitShape<typeof PieceSchema>

/** What was kept when a call began: it decides what the call may call local. */
export class KeptBefore {
  readonly #task: KeptTask | undefined
  readonly #at: number
  readonly #numbers: Bitmap
  /** All of it was here. */
  readonly complete: boolean

  /** @param at - wall-clock milliseconds now */
  constructor(task: KeptTask | undefined, at: number) {
    this.#task = task
    this.#at = at
    this.complete = task?.complete ?? false
    const count = task?.geometry.pieceCount ?? 0
    this.#numbers = new Bitmap(count)
    for (let number = 0; number < count; number++) {
      if (task?.has(number)) this.#numbers.add(number)
    }
  }

  /** Whether this is still the same task, and not one that was made anew. */
  is(task: KeptTask): boolean {
    return this.#task === task
  }

  /** Whether the piece was here before the call, and has not been fetched again since. */
  had(task: KeptTask, { piece, createdAt }: OpenPiece): boolean {
    return this.is(task) && this.#numbers.has(piece.number) && createdAt <= this.#at
  }
}

/** How pieces are told. */
export interface Telling {
  readonly opened: Opened
  readonly numbers: readonly number[]
  /** The end of the run that fetches the task, if there is one. */
  readonly ending: Promise<void> | undefined
  readonly before: KeptBefore
  /** Memory for the bytes of pieces; without it they travel without their bytes. */
  readonly memory: TransferMemory | undefined
}

/**
 * Each wanted piece once: those that are here in order, the others as they come. The bytes of one piece are in memory at a time, and the next one is read
 * when this one has been taken; what was handed out is overwritten then.
 *
 * @throws PeerError TASK_NOT_FOUND when the task is dropped, and what reading a kept piece can throw
 */
export async function* pieceMessages(
  { opened, numbers, ending, before, memory }: Telling,
  signal: AbortSignal,
): AsyncGenerator<PieceMessage, void, undefined> {
  const { spec, task, store, share } = opened
  const news = pieceNews(task, numbers, ending, signal)
  let left = numbers.length
  try {
    for (;;) {
      const next = await news.next()
      signal.throwIfAborted()
      if (next.done === true) break
      const { number, length } = next.value
      // A message is encoded, and so copied, before the next one is asked for.
      using loan = await memory?.lend(length, signal)
      const open = await store.open({ taskId: spec.id, kind: spec.kind, number }, signal)
      try {
        const told = message(open, before.had(task, open))
        if (loan !== undefined) told.content = await contentOf(open, loan)
        yield told
      } finally {
        open.close()
      }
      left--
    }
  } finally {
    await news.return('aborted')
  }
  // Why the run failed is said by it.
  await share?.done
  if (left === 0) return
  throw new PeerError('TASK_NOT_FOUND', 'The task was dropped', { task: spec.id })
}

/** The pieces that will come. */
export function announced(task: KeptTask, numbers: readonly number[]): PieceMessage[] {
  return numbers.map((number) => {
    const { offset, length } = pieceAt(task.geometry, number)
    return { number, offset: BigInt(offset), length: BigInt(length), digest: '' }
  })
}

/** What it took to get a piece is not kept with it. */
function message({ piece, digest, parentId, createdAt }: OpenPiece, had: boolean): PieceMessage {
  const fromPeer = !had && parentId !== originId
  const elsewhere = fromPeer ? TrafficType.REMOTE_PEER : TrafficType.BACK_TO_SOURCE
  return {
    number: piece.number,
    offset: BigInt(piece.offset),
    length: BigInt(piece.length),
    digest,
    trafficType: had ? TrafficType.LOCAL_PEER : elsewhere,
    cost: durationFromMs(0),
    createdAt: timestampFromMs(createdAt),
    ...(fromPeer ? { parentId } : {}),
  }
}

async function contentOf(open: OpenPiece, loan: Loan): Promise<Uint8Array> {
  const { length } = open.piece
  if (open.memory !== undefined) return open.memory.subarray(0, length)
  const content = loan.bytes
  for (let at = 0; at < length; ) {
    const count = await open.read(content.subarray(at), at)
    if (count === 0) {
      const details = { path: '', operation: 'read', errno: 'EOF' }
      throw new PeerError('STORE_FAILED', 'A kept piece ends early', details)
    }
    at += count
  }
  return content
}

import { PeerError } from '../errors.ts'
import { ContentHasher } from '../hash/content-hasher.ts'
import { formatDigest, parseDigest } from '../hash/digest.ts'
import { pieceAt } from '../task/piece.ts'
import type { Opened, Tasks } from './tasks.ts'

/**
 * Digests the whole content in order, piece by piece as they come, and compares. Runs beside the download, on a thread of its own when the content is large.
 *
 * @throws PeerError DIGEST_MISMATCH, and what the download throws
 */
export async function checkDigest(
  opened: Opened,
  expected: string,
  signal: AbortSignal,
): Promise<void> {
  const { algorithm } = parseDigest(expected)
  const actual = await digestOf(opened, algorithm, signal)
  if (actual === formatDigest(parseDigest(expected))) return
  throw new PeerError('DIGEST_MISMATCH', 'The content does not have the expected digest', {
    task: opened.spec.id,
    expected,
    actual,
  })
}

/**
 * Drops what was fetched and does not have its digest: kept, it would be served to others, and would fail the next download here as well. What lay here before
 * this download is left alone, since it may be the digest that is wrong.
 *
 * @returns the error, to be thrown
 */
export async function forgetRotten(
  tasks: Tasks,
  { spec, share }: Opened,
  error: unknown,
  signal: AbortSignal,
): Promise<unknown> {
  if (share === undefined || !PeerError.is(error, 'DIGEST_MISMATCH')) return error
  await tasks.ending(spec.id)
  if (!signal.aborted) await tasks.drop(spec.id, signal)
  return error
}

async function digestOf(
  { spec, task, store, share }: Opened,
  algorithm: ReturnType<typeof parseDigest>['algorithm'],
  signal: AbortSignal,
): Promise<string> {
  const cut = task.geometry
  await using hasher = new ContentHasher(algorithm, cut.contentLength)
  for (let number = 0; number < cut.pieceCount; number++) {
    if (!task.has(number)) await share?.wait(number)
    const piece = await store.open({ taskId: spec.id, kind: spec.kind, number }, signal)
    try {
      const { length } = pieceAt(cut, number)
      for (let at = 0; at < length; ) {
        signal.throwIfAborted()
        const buffer = await hasher.buffer()
        const count = await piece.read(buffer.subarray(0, length - at), at)
        if (count === 0) throw endedEarly(at, length)
        hasher.push(buffer, count)
        at += count
      }
    } finally {
      piece.close()
    }
  }
  // Awaited here: the thread must not be ended before it has answered.
  return await hasher.digest()
}

function endedEarly(at: number, length: number): PeerError<'STORE_FAILED'> {
  const details = { path: '', operation: 'read', errno: 'EOF' }
  return new PeerError(
    'STORE_FAILED',
    `A kept piece ends at byte ${at} instead of ${length}`,
    details,
  )
}

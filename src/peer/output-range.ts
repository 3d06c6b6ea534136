import { access, type FileHandle, open, rename } from 'node:fs/promises'
import { PeerError } from '../errors.ts'
import { storeError } from '../storage/errno.ts'
import { nameNew, withTemporary } from '../storage/placement.ts'
import type { Store } from '../storage/store.ts'
import type { Range } from '../task/piece.ts'

/** Where a part of the content is put. */
export interface RangeOutput {
  readonly path: string
  /** Replace a file that stands there. */
  readonly overwrite: boolean
  readonly signal: AbortSignal
}

/**
 * Puts chunks into a new file at a path: under another name beside it first, so that nothing half-written ever stands at the path.
 *
 * @throws PeerError OUTPUT_EXISTS, PERMISSION_DENIED, NO_SPACE, FILE_NOT_FOUND, STORE_FAILED, and what the chunks throw
 */
export async function outputRange(
  { path, overwrite, signal }: RangeOutput,
  chunks: AsyncIterable<Uint8Array>,
  store: Pick<Store, 'notes'>,
): Promise<void> {
  try {
    await withTemporary(store.notes, path, async (temporary) => {
      const file = await open(temporary, 'wx')
      await fill(file, chunks, signal)
      if (overwrite) await rename(temporary, path)
      else await nameNew(temporary, path)
    })
  } catch (error) {
    throw storeError(error, { path, operation: 'output', output: true })
  }
}

async function fill(
  file: FileHandle,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const chunk of chunks) {
      signal.throwIfAborted()
      await file.writeFile(chunk)
    }
  } finally {
    await file.close()
  }
}

/** Fails early; the output itself is made so that it never replaces a file unasked. */
export async function refuseExisting(path: string): Promise<void> {
  const exists = await access(path).then(
    () => true,
    () => false,
  )
  if (!exists) return
  throw new PeerError('OUTPUT_EXISTS', 'A file stands at the output path', { path })
}

/** The part of content of this length that a range means; all of it without one. */
export function wholeOr(range: Range | undefined, contentLength: number): Range {
  if (range === undefined) return { start: 0, length: contentLength }
  return { start: range.start, length: Math.min(range.length, contentLength - range.start) }
}

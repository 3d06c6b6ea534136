import { randomUUID } from 'node:crypto'
import { type FileHandle, link, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { storeError } from '../storage/errno.ts'

/**
 * Puts chunks into a new file at a path: under another name beside it first, so that nothing half-written ever stands at the path.
 *
 * @throws PeerError OUTPUT_EXISTS, PERMISSION_DENIED, NO_SPACE, FILE_NOT_FOUND, STORE_FAILED, and what the chunks throw
 */
export async function outputRange(
  path: string,
  overwrite: boolean,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  // A name of its own, not a longer one: the given name may be as long as the file system allows.
  const beside = join(dirname(path), `.${randomUUID()}.part`)
  try {
    const file = await open(beside, 'wx')
    try {
      await fill(file, chunks, signal)
      // `link` refuses to replace, `rename` does not.
      if (overwrite) await rename(beside, path)
      else await link(beside, path)
    } finally {
      await rm(beside, { force: true })
    }
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

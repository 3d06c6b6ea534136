import { randomUUID } from 'node:crypto'
import { link, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { PeerError } from '../errors.ts'

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
  const beside = join(dirname(path), `.${basename(path)}.${randomUUID()}.part`)
  try {
    const file = await open(beside, 'wx')
    try {
      for await (const chunk of chunks) {
        signal.throwIfAborted()
        await file.writeFile(chunk)
      }
    } finally {
      await file.close()
    }
    // `link` refuses to replace, `rename` does not.
    if (overwrite) await rename(beside, path)
    else await link(beside, path)
  } catch (error) {
    throw outputError(path, error)
  } finally {
    await rm(beside, { force: true })
  }
}

function outputError(path: string, error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
  if (PeerError.is(error) || code === undefined) return error
  const cause = { cause: error }
  switch (code) {
    case 'EEXIST':
      return new PeerError('OUTPUT_EXISTS', 'A file stands at the output path', { path }, cause)
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new PeerError('PERMISSION_DENIED', 'The output cannot be written', { path }, cause)
    case 'ENOENT':
      return new PeerError('FILE_NOT_FOUND', 'The folder of the output is missing', { path }, cause)
    case 'ENOSPC':
    case 'EDQUOT':
      return new PeerError('NO_SPACE', 'The disk is full', { path, needed: 0 }, cause)
    default:
      return new PeerError(
        'STORE_FAILED',
        `The output cannot be written: ${code}`,
        { path, operation: 'output', errno: code },
        cause,
      )
  }
}

import { realpath } from 'node:fs/promises'
import { dirname, isAbsolute, join, basename, relative, resolve, sep } from 'node:path'
import { PeerError } from '../errors.ts'
import type { TlsSetting } from './tls.ts'

/** What a caller over the network asks for beyond reading. */
export interface OutputWish {
  readonly outputPath?: string | undefined
  readonly overwrite?: boolean
  readonly forceHardLink?: boolean
}

/** Where the content of an ordered download is written, and how. */
export interface PermittedOutput {
  readonly path: string
  readonly overwrite: boolean
  /** Never a hard link, so that the file can be written to. */
  readonly writable: boolean
}

/** Deletes are for callers that showed a certificate, unless `tls.deletes` says no. @throws PeerError NOT_PERMITTED */
export function permitDelete(tls: TlsSetting | undefined, method: string): void {
  if (tls === undefined) throw refused(method, 'It needs mutual TLS')
  if (!tls.deletes) throw refused(method, 'options.tls.deletes is false')
}

/**
 * Where the caller may have the content written: below one of the folders of `tls.outputDirs`, links followed, so that none leads out of it. Undefined when it
 * asks for no path; `overwrite` without a path asks for nothing.
 *
 * @throws PeerError NOT_PERMITTED
 */
export async function permitOutput(
  tls: TlsSetting | undefined,
  method: string,
  wish: OutputWish,
): Promise<PermittedOutput | undefined> {
  const { outputPath, overwrite = false, forceHardLink = false } = wish
  if (outputPath === undefined || outputPath === '') return undefined
  if (tls === undefined) throw refused(method, 'output_path needs mutual TLS')
  if (!isAbsolute(outputPath) || outputPath.includes('\0')) {
    throw refused(method, 'output_path is not absolute')
  }
  const path = resolve(outputPath)
  // Before the disk is asked: nothing is told about folders that were not named.
  const dirs = tls.outputDirs.filter((dir) => isBelow(dir, path))
  for (const dir of dirs) {
    const real = await followed(dir, dirname(path))
    if (real !== undefined && (real.dir === real.folder || isBelow(real.dir, real.folder))) {
      return { path: join(real.folder, basename(path)), overwrite, writable: !forceHardLink }
    }
  }
  throw refused(method, 'output_path is not in a folder of options.tls.outputDirs')
}

/** Both with all links followed; undefined when one is not there. */
async function followed(
  dir: string,
  folder: string,
): Promise<{ readonly dir: string; readonly folder: string } | undefined> {
  try {
    return { dir: await realpath(dir), folder: await realpath(folder) }
  } catch {
    // Not there, or not to be seen by this process: then nothing is written there either.
    return undefined
  }
}

function isBelow(dir: string, path: string): boolean {
  const way = relative(dir, path)
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way)
}

function refused(method: string, reason: string): PeerError<'NOT_PERMITTED'> {
  return new PeerError('NOT_PERMITTED', `Not over the network: ${reason}`, { method, reason })
}

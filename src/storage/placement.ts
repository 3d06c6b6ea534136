import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import {
  copyFile,
  type FileHandle,
  link,
  lstat,
  open,
  rename,
  rm,
  stat,
  unlink,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errnoOf, outputExists, storeError, withErrno } from './errno.ts'
import type { OutputOptions, OutputWay, TemporaryNotes } from './store.ts'

/** Where the content of an output comes from. */
export interface OutputSource {
  /** Bytes. */
  readonly length: number
  /** A file that holds exactly the content, for a reflink. */
  readonly file?: string
  /** The file may be linked to as well. Called when that is about to be tried; the link is made after it resolves. */
  readonly beforeLink?: () => Promise<void>
  /** Writes the content into an empty file, in bounded parts, and looks at the signal between them. */
  copyInto(output: FileHandle, signal: AbortSignal): Promise<void>
  /** Where temporary files are written down, so that they can be removed should the process die. */
  readonly notes?: TemporaryNotes
  /** Called when a reflink or copy is made and has no name yet; throws when the source changed under it. */
  check?(): void
}

/**
 * Makes an output: hard link, else reflink, else copy. The name appears last and with the whole content behind it: by `rename()` where a file may
 * be replaced, else by `link()`, which fails when the name is taken, so that no check can come too early. Until then the content has a name of its own in
 * the same folder, `.dragonfly-` and 16 digits, which is removed on every way out, and by the next process when this one dies.
 */
export async function placeOutput(
  source: OutputSource,
  path: string,
  options: OutputOptions,
): Promise<OutputWay> {
  options.signal.throwIfAborted()
  await refuseEarly(path, options)
  try {
    if (!options.writable && (await linked(source, path, options))) return 'link'
    return await withTemporary(source.notes, path, async (temporary) => {
      const way = await filled(source, temporary, options.signal)
      source.check?.()
      if (options.overwrite) await rename(temporary, path)
      else await nameNew(temporary, path)
      return way
    })
  } catch (error) {
    throw storeError(error, {
      path,
      operation: 'make output',
      needed: source.length,
      output: true,
    })
  }
}

/** Saves the copy when its end is foreseeable. The decision itself falls when the name is given. */
async function refuseEarly(path: string, options: OutputOptions): Promise<void> {
  if (options.overwrite) return
  const attempt = { path, operation: 'stat', output: true }
  const found = await withErrno(
    attempt,
    lstat(path).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return undefined
      throw error
    }),
  )
  if (found !== undefined) throw outputExists(path)
}

/** What `link()` says where it cannot work and a copy can: another file system, one without links, too many of them, or a kernel that protects. */
const linkImpossible = ['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']

async function linked(
  source: OutputSource,
  path: string,
  options: OutputOptions,
): Promise<boolean> {
  const { file, beforeLink } = source
  if (file === undefined || beforeLink === undefined) return false
  const there = await stat(dirname(path))
  const here = await stat(file).catch((error: unknown) => {
    // Somebody removed its name; what it holds can still be copied.
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  })
  if (there.dev !== here?.dev) return false
  await beforeLink()
  options.signal.throwIfAborted()
  try {
    if (!options.overwrite) {
      await link(file, path)
      return true
    }
    await withTemporary(source.notes, path, async (temporary) => {
      await link(file, temporary)
      await rename(temporary, path)
    })
    return true
  } catch (error) {
    if (linkImpossible.includes(errnoOf(error) ?? '')) return false
    throw error
  }
}

/** Fills the temporary file. Its mode is what the process gives to new files. */
async function filled(
  source: OutputSource,
  temporary: string,
  signal: AbortSignal,
): Promise<OutputWay> {
  if (source.file !== undefined && (await reflinked(source.file, temporary))) return 'reflink'
  const output = await open(temporary, 'wx', 0o666)
  try {
    await source.copyInto(output, signal)
  } finally {
    await output.close()
  }
  signal.throwIfAborted()
  return 'copy'
}

async function reflinked(file: string, temporary: string): Promise<boolean> {
  const output = await open(temporary, 'wx', 0o666)
  try {
    // copyFile() gives the copy the mode of its source, which may be 0600 or 0444; an output has the mode of a new file.
    const { mode } = await output.stat()
    await copyFile(file, temporary, constants.COPYFILE_FICLONE_FORCE)
    await output.chmod(mode & 0o7777)
    return true
  } catch {
    // Not on this file system, or not between these two: the copy says what is really wrong, if anything is.
    await rm(temporary, { force: true })
    return false
  } finally {
    await output.close()
  }
}

/** Gives a file its name, which nothing may have yet. @param makeLink - `link()`, or a file system's way to refuse it */
export async function nameNew(
  temporary: string,
  path: string,
  makeLink: (from: string, to: string) => Promise<void> = link,
): Promise<void> {
  try {
    await makeLink(temporary, path)
  } catch (error) {
    if (!linkImpossible.includes(errnoOf(error) ?? '')) throw error
    await nameWithoutLinks(temporary, path)
  }
}

/**
 * A file system without links: an empty file is made first, which only one can do, and replaced then. It is the one case in which a name without its
 * content can be seen, for as long as the rename takes; the way around it would replace a file that another process just made.
 */
async function nameWithoutLinks(temporary: string, path: string): Promise<void> {
  const place = await open(path, 'wx')
  await place.close()
  try {
    await rename(temporary, path)
  } catch (error) {
    await unlink(path)
    throw error
  }
}

/** Gives `use` a free name beside the path, and removes what stands there afterwards. A name of its own and not a longer one: that of the path may be as long as can be. */
export async function withTemporary<T>(
  notes: TemporaryNotes | undefined,
  path: string,
  use: (temporary: string) => Promise<T>,
): Promise<T> {
  const temporary = join(dirname(path), `.dragonfly-${randomBytes(8).toString('hex')}`)
  await notes?.add(temporary)
  try {
    return await use(temporary)
  } finally {
    // After a rename there is nothing left to remove, and rename() leaves its source standing when both names are one file.
    await rm(temporary, { force: true })
    await notes?.remove(temporary)
  }
}

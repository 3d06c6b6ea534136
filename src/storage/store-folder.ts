import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readdir, realpath, rm, rmdir, statfs } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { PeerError } from '../errors.ts'
import { errnoOf, withErrno } from './errno.ts'
import { createFlags, OpenFile } from './open-file.ts'
import { Pace } from './pace.ts'

/** The folder of a disk store: `content/<first 3 characters>/<name>`, `journal`, `lock/`, `outputs/`. Nothing in it is for others to read. */
export class StoreFolder {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /** Makes the folder if it is not there. The rights of one that is there are left alone: everything inside has its own. */
  static async open(dir: string): Promise<StoreFolder> {
    const path = resolve(dir)
    const made = mkdir(path, { recursive: true, mode: 0o700 }).then(() => realpath(path))
    return new StoreFolder(await withErrno({ path, operation: 'make folder' }, made))
  }

  get journal(): string {
    return join(this.path, 'journal')
  }

  get lock(): string {
    return join(this.path, 'lock')
  }

  /** Content of tasks, and files that belong to none yet, under names that begin with `.new-`. */
  get content(): string {
    return join(this.path, 'content')
  }

  /** Notes of outputs that are being made, see `OutputNotes`. */
  get outputs(): string {
    return join(this.path, 'outputs')
  }

  /** Where the content of a task lies. */
  contentPath(id: string): string {
    const name = fileName(id)
    return join(this.content, name.slice(0, 3), name)
  }

  /** Where a file lies that belongs to no task yet. */
  newPath(): string {
    return join(this.content, `.new-${randomBytes(8).toString('hex')}`)
  }

  /** Makes the folder in which the content of a task lies. */
  async makeFolderFor(id: string): Promise<void> {
    const path = join(this.content, fileName(id).slice(0, 3))
    await withErrno(
      { path, operation: 'make folder' },
      mkdir(path, { recursive: true, mode: 0o700 }),
    )
  }

  /** Makes the file for the content of a task, in place of one that lies there, and its folder where it is missing: mostly one call does. */
  async createFor(id: string): Promise<OpenFile> {
    const path = this.contentPath(id)
    try {
      return await OpenFile.open(path, createFlags)
    } catch (error) {
      if (PeerError.is(error, 'FILE_NOT_FOUND')) await this.makeFolderFor(id)
      else if (errnoOf((error as Error).cause) === 'EEXIST')
        await withErrno({ path, operation: 'remove' }, rm(path, { force: true }))
      else throw error
    }
    return await OpenFile.open(path, createFlags)
  }

  /** Free bytes of the disk, as they are to this user. */
  async free(): Promise<number> {
    const { path } = this
    const { bavail, bsize } = await withErrno({ path, operation: 'statfs' }, statfs(path))
    return bavail * bsize
  }

  /**
   * Refuses a folder that has content but no journal: it is not a store, or not a whole one, and opening it would delete what lies there.
   *
   * @throws PeerError STORE_FAILED
   */
  async refuseForeign(): Promise<void> {
    const names = await this.#read(this.path)
    if (names.includes('journal') || !names.includes('content')) return
    if ((await this.#read(this.content)).length === 0) return
    throw new PeerError(
      'STORE_FAILED',
      `${this.path} has content but no journal; it is no store, or the journal was removed. Remove the folder or name another one`,
      { path: this.path, operation: 'open', errno: 'ENOTEMPTY' },
    )
  }

  /**
   * Makes the inner folder, and removes files of no task: leftovers of a process that died.
   *
   * @param ids - tasks that have a file here
   * @returns those whose file is there
   */
  async sweep(ids: Iterable<string>): Promise<Set<string>> {
    await withErrno(
      { path: this.content, operation: 'make folder' },
      mkdir(this.content, { recursive: true, mode: 0o700 }),
    )
    const pace = new Pace()
    const idOf = new Map<string, string>()
    for (const id of ids) {
      if (pace.due) await pace.rest()
      idOf.set(fileName(id), id)
    }
    const there = new Set<string>()
    for (const outer of await this.#read(this.content)) {
      const path = join(this.content, outer)
      if (outer.startsWith('.new-')) {
        await this.#remove(path)
        continue
      }
      const before = there.size
      for (const inner of await this.#read(path)) {
        if (pace.due) await pace.rest()
        const id = inner.startsWith(outer) ? idOf.get(inner) : undefined
        if (id === undefined) await this.#remove(join(path, inner))
        else there.add(id)
      }
      if (there.size === before) await this.#removeEmpty(path)
    }
    return there
  }

  async #removeEmpty(path: string): Promise<void> {
    try {
      await rmdir(path)
    } catch (error) {
      // Something is in it that is not ours, or it is a file: it stays.
      if (!['ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'ENOENT'].includes(errnoOf(error) ?? '')) {
        await withErrno({ path, operation: 'remove' }, Promise.reject(error))
      }
    }
  }

  async #read(path: string): Promise<string[]> {
    try {
      return await readdir(path)
    } catch (error) {
      // A file where only folders are made: not ours, so it stays.
      if (errnoOf(error) === 'ENOTDIR' || errnoOf(error) === 'ENOENT') return []
      return await withErrno({ path, operation: 'read folder' }, Promise.reject(error))
    }
  }

  async #remove(path: string): Promise<void> {
    try {
      await rm(path, { force: true })
    } catch (error) {
      // A folder where only files are made: not ours, so it stays.
      if (errnoOf(error) === 'EISDIR' || (error as NodeJS.ErrnoException).code === 'ERR_FS_EISDIR')
        return
      await withErrno({ path, operation: 'remove' }, Promise.reject(error))
    }
  }
}

/**
 * The name of a task's file. Ids are 64 hexadecimal digits as a rule, but that of a persistent cache task comes from its user and so from the network; one that could
 * be anything else than a plain file name is hashed.
 */
function fileName(id: string): string {
  if (/^[0-9a-z][0-9a-z_-]{2,127}$/.test(id)) return id
  return `~${createHash('sha256').update(id).digest('hex')}`
}

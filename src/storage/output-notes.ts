import { mkdir, readdir, readlink, rm, symlink } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { errnoOf, withErrno } from './errno.ts'
import { removeLeftover } from './leftover.ts'
import type { TemporaryNotes } from './store.ts'

/** Temporary files that are being made for outputs: `.dragonfly-` and 16 hexadecimal digits. */
const namePattern = /^\.dragonfly-[0-9a-f]{16}$/

/** What a note costs when it cannot be made: no room, no links there, no permission. The output itself does not depend on it. */
const noteImpossible = ['ENOSPC', 'EDQUOT', 'EPERM', 'EACCES', 'EROFS', 'ENOTSUP', 'EOPNOTSUPP']

/**
 * Which temporary files this store is making in folders of others, so that the next process can remove those of one that died: a model half copied is
 * otherwise space that nobody will ever find.
 *
 * A note is a symbolic link that has the name of the temporary file and leads to it: made and removed in one step each, so that there is no half of one. It
 * stands before the file does, and goes after it.
 */
export class OutputNotes implements TemporaryNotes {
  readonly #folder: string

  /** @param folder - made with the first note */
  constructor(folder: string) {
    this.#folder = folder
  }

  /** A file of this name is about to be made. */
  async add(temporary: string): Promise<void> {
    try {
      await this.#link(temporary)
    } catch (error) {
      if (!noteImpossible.includes(errnoOf(error) ?? '')) throw error
    }
  }

  /** The file is gone, or has another name. A note that stays does no harm: it leads nowhere. */
  async remove(temporary: string): Promise<void> {
    await removeLeftover(join(this.#folder, basename(temporary)))
  }

  /** Removes what a dead process was making. A file that cannot be removed now is tried again next time. */
  async clear(): Promise<void> {
    const path = this.#folder
    const names = await readdir(path).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return []
      return withErrno({ path, operation: 'read folder' }, Promise.reject(error))
    })
    for (const name of names) {
      if (namePattern.test(name)) await this.#clearOne(join(path, name), name)
    }
  }

  async #link(temporary: string): Promise<void> {
    const note = join(this.#folder, basename(temporary))
    try {
      await symlink(resolve(temporary), note)
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error
      await mkdir(this.#folder, { recursive: true, mode: 0o700 })
      await symlink(resolve(temporary), note)
    }
  }

  async #clearOne(note: string, name: string): Promise<void> {
    try {
      const temporary = await readlink(note)
      // Only what this class could have written down.
      if (basename(temporary) === name) await rm(temporary, { force: true })
      await rm(note, { force: true })
    } catch (error) {
      // No link, or in a folder that this process may not change now: no reason for a store not to open.
      if (errnoOf(error) === undefined) throw error
    }
  }
}

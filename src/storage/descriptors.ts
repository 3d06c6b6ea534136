import { PeerError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import { OpenFile, readFlags, writeFlags } from './open-file.ts'

/** Descriptors that stay open without being used. */
export const idleDescriptorsMax = 64
/** Milliseconds after which an unused descriptor is closed. */
const idleMs = 30_000

/** A file that somebody uses. `release` exactly once. */
export interface Lease {
  readonly file: OpenFile
  release(): void
}

interface Entry {
  readonly key: object
  readonly writable: boolean
  readonly opened: Promise<OpenFile>
  users: number
  idleSince: number
  /** Is closed by its last user. */
  dropped: boolean
}

/**
 * Open descriptors by owner, shared by all who use them at a time. Those in use are as many as there are open pieces and slots, which have limits of
 * their own; of the unused ones a bounded number stays open for a while, the longest unused going first.
 */
export class Descriptors {
  readonly #clock: Clock
  /** One per owner: a descriptor that can write serves readers too. */
  readonly #entries = new Map<object, Entry>()
  /** Unused ones, longest unused first. */
  readonly #idle = new Set<Entry>()
  /** Being closed now. */
  readonly #closing = new Set<Promise<void>>()
  #stopTimer: (() => void) | undefined
  #closed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Descriptors that are open without a user. */
  get idle(): number {
    return this.#idle.size
  }

  /**
   * The file at `path`, opened for reading or for both.
   *
   * @param key - whose descriptor it is. Another key is another file, also at the same path.
   */
  async lease(key: object, path: string, writable: boolean): Promise<Lease> {
    if (this.#closed) throw new PeerError('CLOSED', 'The store is closed', { what: 'store' })
    let entry = this.#entries.get(key)
    if (entry === undefined || (writable && !entry.writable)) {
      if (entry !== undefined) this.drop(key)
      const opened = this.#openFile(path, writable ? writeFlags : readFlags)
      entry = { key, writable, opened, users: 0, idleSince: 0, dropped: false }
      this.#entries.set(key, entry)
    }
    const used = entry
    this.#idle.delete(used)
    used.users++
    try {
      const file = await used.opened
      let open = true
      const release = (): void => {
        if (open) this.#release(used)
        open = false
      }
      return { file, release }
    } catch (error) {
      used.users--
      if (this.#entries.get(key) === used) this.#entries.delete(key)
      throw error
    }
  }

  /** Takes over a file that its owner has just made, open for both: its first user need not open it again. */
  adopt(key: object, file: OpenFile): void {
    const opened = Promise.resolve(file)
    const entry: Entry = { key, writable: true, opened, users: 1, idleSince: 0, dropped: false }
    if (this.#closed) return this.#close(entry)
    this.drop(key)
    this.#entries.set(key, entry)
    this.#release(entry)
  }

  /** Closes the owner's descriptor as soon as nobody uses it. */
  drop(key: object): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    entry.dropped = true
    if (entry.users === 0) this.#close(entry)
  }

  /** Closes everything when the calls that run have ended. */
  async close(): Promise<void> {
    this.#closed = true
    this.#stopTimer?.()
    const entries = [...this.#entries.values()]
    this.#entries.clear()
    for (const entry of entries) {
      entry.dropped = true
      this.#close(entry)
    }
    await Promise.all(this.#closing)
  }

  /** The process may have too many descriptors: then those that rest here are given up first. */
  async #openFile(path: string, flags: number): Promise<OpenFile> {
    try {
      return await OpenFile.open(path, flags)
    } catch (error) {
      if (this.#idle.size === 0 || !isOutOfDescriptors(error)) throw error
      for (const { key } of this.#idle) this.drop(key)
      await Promise.all(this.#closing)
      return await OpenFile.open(path, flags)
    }
  }

  #release(entry: Entry): void {
    entry.users--
    if (entry.users > 0) return
    if (entry.dropped) {
      if (!this.#closed) this.#close(entry)
      return
    }
    entry.idleSince = this.#clock.now()
    this.#idle.add(entry)
    for (const oldest of this.#idle) {
      if (this.#idle.size <= idleDescriptorsMax) break
      this.drop(oldest.key)
    }
    this.#watch()
  }

  #close(entry: Entry): void {
    this.#idle.delete(entry)
    const closing = entry.opened
      .then((file) => file.close())
      // The file was never opened, which its user was told, or it was only read or has reported its writes; close() has nothing to add.
      .catch(() => undefined)
      .finally(() => this.#closing.delete(closing))
    this.#closing.add(closing)
  }

  #watch(): void {
    this.#stopTimer ??= this.#clock.after(idleMs, () => {
      this.#stopTimer = undefined
      const before = this.#clock.now() - idleMs
      for (const entry of this.#idle) {
        if (entry.idleSince > before) break
        this.drop(entry.key)
      }
      if (this.#idle.size > 0) this.#watch()
    })
  }
}

function isOutOfDescriptors(error: unknown): boolean {
  return PeerError.is(error, 'STORE_FAILED') && ['EMFILE', 'ENFILE'].includes(error.details.errno)
}

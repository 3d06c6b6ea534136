import { close, constants, fstatSync, open, read, write } from 'node:fs'
import { PeerError } from '../errors.ts'
import { storeError, withErrno } from './errno.ts'

/** What tells one version of a file from another. */
export interface Stamp {
  readonly dev: bigint
  readonly ino: bigint
  readonly size: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

/** To read. Not waiting for a writer, should somebody put a pipe where a file was: that would block a thread of the pool for ever. */
export const readFlags: number = constants.O_RDONLY | constants.O_NONBLOCK
/** To read and write a file that is there. */
export const writeFlags: number = constants.O_RDWR | constants.O_NONBLOCK
/** To make a file that is not there. */
export const createFlags: number = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL

/**
 * A descriptor and the calls on it. The callback functions of `node:fs` are used, because a `FileHandle` costs twice as much for each call. It counts the calls
 * that run, so that it is never closed under one: its number could belong to another file by then.
 */
export class OpenFile {
  readonly path: string
  readonly #fd: number
  #running = 0
  #closing: (() => void) | undefined
  #closed = false

  private constructor(path: string, fd: number) {
    this.path = path
    this.#fd = fd
  }

  /** @param flags - as in `open(2)`, with a mode of 0600 for files that it makes */
  static async open(path: string, flags: number): Promise<OpenFile> {
    const opening = new Promise<number>((resolve, reject) => {
      open(path, flags, 0o600, (error, fd) => (error === null ? resolve(fd) : reject(error)))
    })
    return new OpenFile(path, await withErrno({ path, operation: 'open' }, opening))
  }

  /** Writes all of `bytes` at a place in the file. */
  async write(bytes: Uint8Array, position: number): Promise<void> {
    await this.#call('write', bytes.length, async () => {
      for (let at = 0; at < bytes.length; ) {
        at += await this.#writeOnce(bytes, at, position + at)
      }
    })
  }

  /** Reads from a place in the file until `into` is full or the file ends; the count. */
  async read(into: Uint8Array, position: number): Promise<number> {
    return await this.#call('read', 0, async () => {
      let at = 0
      while (at < into.length) {
        const count = await this.#readOnce(into, at, position + at)
        if (count === 0) break
        at += count
      }
      return at
    })
  }

  /** Its stamp as it is now. Synchronous: the call takes a microsecond or two, a way through the thread pool twenty. */
  stamp(): Stamp {
    this.#refuseClosed()
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = fstatSync(this.#fd, { bigint: true })
      return { dev, ino, size, mtimeNs, ctimeNs }
    } catch (error) {
      throw storeError(error, { path: this.path, operation: 'stat' })
    }
  }

  /** The descriptor, for as long as the caller's lease of the file. */
  get descriptor(): number {
    this.#refuseClosed()
    return this.#fd
  }

  /** Runs what uses the descriptor otherwise. */
  async use<T>(operation: string, needed: number, run: (fd: number) => Promise<T>): Promise<T> {
    return await this.#call(operation, needed, () => run(this.#fd))
  }

  /** Runs another call of `node:fs` on the descriptor. */
  async call(
    operation: string,
    run: (fd: number, done: (error: NodeJS.ErrnoException | null) => void) => void,
  ): Promise<void> {
    await this.#call(operation, 0, () => {
      return new Promise<void>((resolve, reject) => {
        run(this.#fd, (error) => (error === null ? resolve() : reject(error)))
      })
    })
  }

  /** Closes it when the calls that run have ended. Safe to call twice; later calls on the file are refused. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#closing = resolve))
    const closing = new Promise<void>((resolve, reject) => {
      close(this.#fd, (error) => (error ? reject(error) : resolve()))
    })
    await withErrno({ path: this.path, operation: 'close' }, closing)
  }

  #writeOnce(bytes: Uint8Array, at: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      write(this.#fd, bytes, at, bytes.length - at, position, (error, count) =>
        error === null ? resolve(count) : reject(error),
      )
    })
  }

  #readOnce(into: Uint8Array, at: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      read(this.#fd, into, at, into.length - at, position, (error, count) =>
        error === null ? resolve(count) : reject(error),
      )
    })
  }

  async #call<T>(operation: string, needed: number, run: () => Promise<T>): Promise<T> {
    this.#refuseClosed()
    this.#running++
    try {
      return await withErrno({ path: this.path, operation, needed }, run())
    } finally {
      this.#running--
      if (this.#running === 0) this.#closing?.()
    }
  }

  #refuseClosed(): void {
    if (this.#closed) throw new PeerError('CLOSED', 'The file is closed', { what: 'file' })
  }
}

/** The same version of the same file, as far as its owner can tell. */
export function sameStamp(left: Stamp, right: Stamp): boolean {
  return left.ctimeNs === right.ctimeNs && sameContent(left, right)
}

/** Nothing was written between the two; names, links and rights may have changed. */
export function sameContent(left: Stamp, right: Stamp): boolean {
  return (
    left.mtimeNs === right.mtimeNs &&
    left.size === right.size &&
    left.ino === right.ino &&
    left.dev === right.dev
  )
}

/** Longest step of the clock with which file systems stamp: 10 ms at 100 Hz, and room to spare. */
export const stampStepMs = 50

/**
 * Whether another write would certainly change the stamp. Times move in steps, so a file that was written within the step that runs now can be written again
 * and keep its times.
 */
export function settled(stamp: Stamp, now: number): boolean {
  return Math.abs(now - Number(stamp.mtimeNs / 1_000_000n)) > stampStepMs
}

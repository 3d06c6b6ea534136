import { type BigIntStats } from 'node:fs'
import { lstat, open, rm, stat } from 'node:fs/promises'
import { dirname, isAbsolute } from 'node:path'
import { PeerError } from '../../errors.ts'
import { errnoOf, outputExists, storeError } from '../../storage/errno.ts'
import type { OutputWay } from '../../storage/store.ts'
import type { Clock } from '../../util/clock.ts'
import { invalid } from './failure.ts'
import { unusable } from './range-header.ts'

/** Milliseconds that a tool has for removing the place of an output after a failure, before it is removed here. */
export const placeLeaveMs: number = 3000

/** Where a tool wants the content. */
export interface OutputWish {
  readonly path: string
  readonly overwrite: boolean
  /** Fail rather than copy. */
  readonly hardLink: boolean
}

/** The wish of a request, checked. @throws ConnectError InvalidArgument */
export function outputWish(request: {
  readonly outputPath?: string | undefined
  readonly overwrite: boolean
  readonly forceHardLink: boolean
}): OutputWish | undefined {
  const { outputPath: path, overwrite, forceHardLink: hardLink } = request
  if (path === undefined || path === '') return undefined
  if (!isAbsolute(path) || path.includes('\0') || path.endsWith('/')) {
    throw invalid('output_path must be the absolute path of a file')
  }
  return { path, overwrite, hardLink }
}

/**
 * The name of an output while its content is still coming: an empty file of our own, or the file that is to be replaced.
 *
 * After a failure the tools remove the file at the path, and say "not found" in place of what happened when there is none (controlplane 6.5). So there is one
 * from the first message on. It is replaced as a whole at the end; nothing half-written ever stands there. What a tool leaves behind is removed here.
 */
export class OutputPlace {
  readonly #wish: OutputWish
  /** Our empty file; undefined when there was a file. */
  readonly #own: BigIntStats | undefined

  private constructor(wish: OutputWish, own: BigIntStats | undefined) {
    this.#wish = wish
    this.#own = own
  }

  /**
   * @param storeDir - folder of the store on disk, if there is one
   * @throws PeerError OUTPUT_EXISTS, PERMISSION_DENIED, FILE_NOT_FOUND (no such folder); ConnectError FailedPrecondition when a hard link is impossible
   */
  static async take(wish: OutputWish, storeDir: string | undefined): Promise<OutputPlace> {
    const { path, overwrite, hardLink } = wish
    try {
      if (hardLink) await refuseFar(path, storeDir)
      const file = await open(path, 'wx', 0o600)
      try {
        return new OutputPlace(wish, await file.stat({ bigint: true }))
      } finally {
        await file.close()
      }
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw outputError(error, path)
      const found = await lstat(path)
      if (found.isDirectory()) throw invalid(`output_path is a folder: ${path}`)
      if (!overwrite) throw outputExists(path)
      return new OutputPlace(wish, undefined)
    }
  }

  /**
   * Puts the content there.
   *
   * @param make - makes the output; replaces a file when it may
   */
  async put(make: (path: string, overwrite: boolean) => Promise<OutputWay>): Promise<void> {
    const { path, overwrite, hardLink } = this.#wish
    const found = await statOf(path)
    const ours = found !== undefined && this.#isOwn(found)
    const way = await make(path, ours || overwrite)
    if (!hardLink || way === 'link') return
    await rm(path, { force: true })
    throw unusable(`A hard link cannot be made at ${path}`)
  }

  /** Removes our empty file, if it still stands there. */
  async remove(): Promise<void> {
    const { path } = this.#wish
    const found = await statOf(path)
    if (found !== undefined && this.#isOwn(found)) await rm(path, { force: true })
  }

  #isOwn(found: BigIntStats): boolean {
    const own = this.#own
    if (own === undefined || found.size !== 0n) return false
    return found.ino === own.ino && found.dev === own.dev && found.birthtimeNs === own.birthtimeNs
  }
}

/** Places that tools were told to remove. Each is removed here when its time is over, or when the peer closes. */
export class LeftPlaces {
  readonly #clock: Clock
  readonly #left = new Map<OutputPlace, () => void>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The tool hears of a failure now, and will remove it. */
  add(place: OutputPlace): void {
    const remove = (): void => {
      this.#left.delete(place)
      // The folder may be gone or closed by now, and with it the file.
      place.remove().catch(() => undefined)
    }
    this.#left.set(place, this.#clock.after(placeLeaveMs, remove))
  }

  /** Removes all of them now. */
  async close(): Promise<void> {
    const places = [...this.#left]
    this.#left.clear()
    for (const [place, cancel] of places) {
      cancel()
      // As above.
      await place.remove().catch(() => undefined)
    }
  }
}

async function statOf(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true })
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw outputError(error, path)
  }
}

/** A link across file systems is known to fail before anything is fetched. */
async function refuseFar(path: string, storeDir: string | undefined): Promise<void> {
  if (storeDir === undefined) throw unusable('There is no hard link to content in memory')
  const [here, there] = [await stat(storeDir), await stat(dirname(path))]
  if (here.dev !== there.dev) throw unusable(`A hard link cannot be made at ${path}`)
}

function outputError(error: unknown, path: string): unknown {
  if (PeerError.is(error) || errnoOf(error) === undefined) return error
  return storeError(error, { path, operation: 'make output', output: true })
}

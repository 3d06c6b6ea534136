import { fileURLToPath } from 'node:url'
import { resolve } from 'node:path'
import { stat } from 'node:fs/promises'
import { PeerError } from '../errors.ts'
import type { KeptTask } from '../storage/store.ts'
import { pieceLengthFor } from '../task/piece.ts'
import { Scope } from '../util/scope.ts'
import { seedSettings } from './download-settings.ts'
import type { SeedOptions, TaskInfo } from './options.ts'
import { recordOf } from './record.ts'
import type { World } from './world.ts'

/** A file of this disk that is published: made by `Peer.seed()`. Closing it ends the publication; the file is never touched. */
export class Seeding implements AsyncDisposable {
  /** What is published. */
  readonly task: TaskInfo
  readonly #end: () => Promise<void>
  #ended: Promise<void> | undefined

  /** @internal */
  constructor(task: TaskInfo, end: () => Promise<void>) {
    this.task = task
    this.#end = end
  }

  /** Tells the scheduler that the file is not here any more and stops serving it; running transfers end first. Safe to call twice. */
  async stop(): Promise<void> {
    this.#ended ??= this.#end()
    return this.#ended
  }

  /** The same as `stop()`. */
  async close(): Promise<void> {
    return this.stop()
  }

  /** The same as `stop()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}

/**
 * Publishes a file as the content of a URL, where it lies. It is read once to digest its pieces, and watched: from the moment it changes its pieces are checked
 * before they are served, and those that changed are not served.
 *
 * @throws TypeError, RangeError for options; PeerError FILE_NOT_FOUND, PERMISSION_DENIED, FILE_CHANGED, INVALID_URL, STORE_FAILED
 * @internal
 */
export async function seed(
  world: World,
  file: string | URL,
  options: SeedOptions,
  lifetime: AbortSignal,
): Promise<Seeding> {
  const { path: given, spec, signal } = seedSettings(file, options)
  const path = resolve(given instanceof URL ? fileURLToPath(given) : given)
  using scope = new Scope([lifetime, signal])
  const length = await lengthOf(path)
  const task = await world.store.adopt(
    recordOf(spec, world.clock.date()),
    path,
    spec.pieceLength ?? pieceLengthFor(length),
    scope.signal,
  )
  await world.announcements.announce(task)
  return new Seeding(infoOf(task), async () => {
    // The scheduler learns of it through the store.
    try {
      await world.store.delete(task.record.id)
    } catch (error) {
      // The peer was closed first: nothing is served any more.
      if (!PeerError.is(error, 'CLOSED')) throw error
    }
  })
}

/** What a task is that lies here completely. */
export function infoOf(task: KeptTask): TaskInfo {
  const { contentLength, pieceLength, pieceCount } = task.geometry
  return {
    id: task.record.id,
    kind: task.record.kind,
    length: contentLength,
    pieceLength,
    pieces: pieceCount,
    traffic: { source: 0, peers: 0, local: contentLength },
  }
}

async function lengthOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch (error) {
    const cause = { cause: error }
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new PeerError('FILE_NOT_FOUND', 'There is no such file', { path }, cause)
    }
    throw new PeerError('PERMISSION_DENIED', 'The file cannot be read', { path }, cause)
  }
}

import { createReadStream } from 'node:fs'
import { PeerError } from '../errors.ts'
import { contentTaskId, PersistentCacheTaskId } from '../hash/task-id.ts'
import type { KeptTask } from '../storage/store.ts'
import { describe } from '../util/settings.ts'
import { abortable, Scope } from '../util/scope.ts'
import { writeSettings } from './download-settings.ts'
import type { TaskInfo, Writable, WriteOptions } from './options.ts'
import { infoOf } from './seeding.ts'
import type { World } from './world.ts'

/** Bytes that are read from a file at a time. */
const readBytes: number = 1024 * 1024

/**
 * Puts content into the network: into this peer's store first, then onto as many hosts as were asked for. The id is made of the content, so writing the same
 * content again gives the same task.
 *
 * @throws TypeError, RangeError for options; PeerError FILE_NOT_FOUND, PERMISSION_DENIED, NO_SPACE, SCHEDULER_UNAVAILABLE, FOREIGN (the stream threw)
 */
export async function write(
  world: World,
  content: Writable,
  options: WriteOptions | undefined,
  lifetime: AbortSignal,
): Promise<TaskInfo> {
  const settings = writeSettings(options)
  using scope = new Scope([lifetime, settings.signal])
  return infoOf(await keep(world, content, settings, scope.signal))
}

/**
 * The work of `write()`, with settings that were checked.
 *
 * @param name - names the task in place of the content, as the tools can ask for
 * @internal
 */
export async function keep(
  world: World,
  content: Writable,
  settings: ReturnType<typeof writeSettings>,
  signal: AbortSignal,
  name?: string,
): Promise<KeptTask> {
  const chunks = chunksOf(content)
  const naming = new PersistentCacheTaskId(settings)
  const spool = await world.store.spool()
  let task: KeptTask
  try {
    for await (const chunk of foreign(chunks, signal)) {
      naming.update(chunk)
      await spool.write(chunk)
    }
    const record = {
      id: name === undefined ? naming.id() : contentTaskId(name),
      kind: 'persistentCache' as const,
      createdAt: world.clock.date(),
      ttlMs: settings.ttlMs,
      persistent: true,
      replicas: settings.replicas,
      ...(settings.tag === undefined ? {} : { tag: settings.tag }),
      ...(settings.application === undefined ? {} : { application: settings.application }),
      ...(settings.pieceLength === undefined ? {} : { pieceLength: settings.pieceLength }),
    }
    task = await spool.finish(record, settings.pieceLength)
    if (task.record.createdAt !== record.createdAt) await prolong(task, record)
  } finally {
    await spool.discard()
  }
  await world.announcements.publish(task, task.record.replicas ?? settings.replicas, signal)
  return task
}

/** The same content was here already: of both wishes the longer life and the larger number of copies count. */
async function prolong(
  task: KeptTask,
  wish: { readonly createdAt: number; readonly ttlMs: number; readonly replicas: number },
): Promise<void> {
  const { createdAt, ttlMs = 0, replicas = 1 } = task.record
  await task.update({
    ttlMs: Math.max(ttlMs, wish.createdAt + wish.ttlMs - createdAt),
    replicas: Math.max(replicas, wish.replicas),
    persistent: true,
  })
}

function chunksOf(content: Writable): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  if (content instanceof Uint8Array) return parts(content)
  if (typeof content === 'string' || content instanceof URL) {
    return fileChunks(content)
  }
  if (typeof content === 'object' && content !== null && Symbol.asyncIterator in content) {
    return content
  }
  throw new TypeError(
    `A path, a Uint8Array or an async iterable is needed, got ${describe(content)}`,
  )
}

/** Opened when it is first read: a stream that nobody reads yet would end the process when the file is missing. */
async function* fileChunks(path: string | URL): AsyncGenerator<Uint8Array, void, undefined> {
  yield* createReadStream(path, { highWaterMark: readBytes })
}

function* parts(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += readBytes) yield bytes.subarray(at, at + readBytes)
}

/** Chunks of the caller: checked, cut off when the write is cancelled, their failure named. */
async function* foreign(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  signal.throwIfAborted()
  const reader =
    Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]()
  let ended = false
  try {
    for (;;) {
      signal.throwIfAborted()
      const next = await abortable(Promise.resolve(reader.next()), signal)
      ended = next.done === true
      if (next.done === true) return
      if (!(next.value instanceof Uint8Array)) {
        throw new TypeError(`The content must come as Uint8Array, got ${describe(next.value)}`)
      }
      yield next.value
    }
  } catch (error) {
    signal.throwIfAborted()
    throw readError(error)
  } finally {
    if (!ended) await letGo(reader, signal)
  }
}

/** Ends the caller's iteration early, and waits for that unless cancelled: content that stands still would hang here too. */
async function letGo(
  reader: AsyncIterator<Uint8Array> | Iterator<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const ending = async (): Promise<unknown> => reader.return?.()
  // Why the write ends is known already; what the caller's iterable throws while it is let go of changes nothing.
  const ended = ending().catch(() => undefined)
  if (!signal.aborted) await abortable(ended, signal)
}

function readError(error: unknown): unknown {
  if (PeerError.is(error) || error instanceof TypeError) return error
  const { code, path } = error as NodeJS.ErrnoException
  if (typeof path === 'string' && code === 'ENOENT') {
    return new PeerError('FILE_NOT_FOUND', 'There is no such file', { path }, { cause: error })
  }
  if (typeof path === 'string' && (code === 'EACCES' || code === 'EPERM')) {
    return new PeerError('PERMISSION_DENIED', 'The file cannot be read', { path }, { cause: error })
  }
  return new PeerError(
    'FOREIGN',
    'The content could not be read',
    { where: 'write', reason: error instanceof Error ? error.message : String(error) },
    { cause: error },
  )
}

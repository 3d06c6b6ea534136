import type { BigIntStats } from 'node:fs'
import { constants } from 'node:fs'
import { type FileHandle, lstat, open, opendir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { PeerError } from '../errors.ts'
import type { OriginStat } from '../task/ports.ts'
import { redactUrl } from './redact.ts'
import type { Source, SourceEntry, SourceRead, SourceRequest } from './source.ts'

/** Bytes that are read at once. One buffer of this size per read, reused for every chunk. */
export const fileChunkBytes: number = 512 * 1024

/**
 * The source for `file:` URLs: regular files of this machine, links followed. The version is size, inode, and the times of last change of content and entry in
 * nanoseconds; it is compared before and after each part that is read, so a part of a changed file is not delivered.
 *
 * Whoever may name URLs can read with it whatever this process can read: it must not be reachable from the network.
 */
export function file(): Source {
  return { scheme: 'file', stat: fileStat, read: fileRead, list: fileList }
}

async function fileStat(request: SourceRequest): Promise<OriginStat> {
  request.signal.throwIfAborted()
  const facts = await guarded(request, async () => regular(request, await lookAt(request)))
  request.signal.throwIfAborted()
  return {
    length: lengthOf(request, facts),
    ranges: true,
    validator: validatorOf(facts),
    headers: Object.freeze({}),
  }
}

async function* fileRead(request: SourceRead): AsyncGenerator<Uint8Array, void, undefined> {
  const { offset, length, validator, signal } = request
  signal.throwIfAborted()
  await using opened = await openRegular(request)
  const { handle } = opened
  const expected = validator ?? validatorOf(opened.facts)
  compare(request, expected, opened.facts)
  const size = lengthOf(request, opened.facts)
  const end = length === undefined ? size : offset + length
  if (end > size || offset > size) {
    throw protocolError(request, `bytes ${offset} to ${end}`, `a file of ${size} bytes`)
  }
  const buffer = new Uint8Array(Math.min(fileChunkBytes, end - offset))
  for (let position = offset; position < end; ) {
    const wanted = Math.min(buffer.length, end - position)
    const { bytesRead, facts } = await guarded(request, async () => {
      const result = await handle.read(buffer, 0, wanted, position)
      return { bytesRead: result.bytesRead, facts: await handle.stat({ bigint: true }) }
    })
    signal.throwIfAborted()
    compare(request, expected, facts)
    if (bytesRead === 0) throw protocolError(request, `${end} bytes`, `${position} bytes`)
    position += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

/** Files below a folder. A link to a file is a file, as for reading; a link to a folder is not followed, so there are no circles. */
async function* fileList(request: SourceRequest): AsyncGenerator<SourceEntry, void, undefined> {
  const folders = [pathOf(request)]
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    request.signal.throwIfAborted()
    const path = folder
    const handle = await guarded(request, () => opendir(path))
    for await (const { name } of handle) {
      request.signal.throwIfAborted()
      const entry = await entryOf(request, join(path, name))
      if (entry?.isDirectory) folders.push(join(path, name))
      if (entry !== undefined) yield entry
    }
  }
}

/** Undefined for what is neither a file nor a folder, or is gone by now. */
async function entryOf(request: SourceRequest, path: string): Promise<SourceEntry | undefined> {
  return guarded(request, async () => {
    const { href } = pathToFileURL(path)
    try {
      if ((await lstat(path)).isDirectory())
        return { url: `${href}/`, length: 0, isDirectory: true }
      const facts = await stat(path, { bigint: true })
      if (!facts.isFile()) return undefined
      return { url: href, length: lengthOf(request, facts), isDirectory: false }
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
      throw error
    }
  })
}

interface Opened extends AsyncDisposable {
  readonly handle: FileHandle
  readonly facts: BigIntStats
}

/**
 * Opens a regular file and nothing else. Opening a pipe waits for its other end, and opening a device may do anything: so the kind is looked at first, and the
 * opening does not block should the file be exchanged for a pipe in between.
 */
async function openRegular(request: SourceRequest): Promise<Opened> {
  return guarded(request, async () => {
    regular(request, await lookAt(request))
    const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) // Windows has no such flag
    const handle = await open(pathOf(request), flags)
    try {
      const facts = regular(request, await handle.stat({ bigint: true }))
      return { handle, facts, [Symbol.asyncDispose]: () => handle.close() }
    } catch (error) {
      await handle.close()
      throw error
    }
  })
}

function lookAt(request: SourceRequest): Promise<BigIntStats> {
  return stat(pathOf(request), { bigint: true })
}

function regular(request: SourceRequest, facts: BigIntStats): BigIntStats {
  if (facts.isFile()) return facts
  throw protocolError(
    request,
    'a regular file',
    facts.isDirectory() ? 'a folder' : 'a special file',
  )
}

function pathOf(request: SourceRequest): string {
  try {
    const path = fileURLToPath(request.url)
    if (!path.includes('\0')) return path
  } catch {
    // A host, or an encoded slash. The reason below covers both; the error of Node would repeat the path.
  }
  const reason = 'It does not name a file of this machine'
  const details = { url: redactUrl(request.url), reason }
  throw new PeerError('INVALID_URL', `The URL is not usable: ${reason}`, details)
}

function lengthOf(request: SourceRequest, facts: BigIntStats): number {
  const length = Number(facts.size)
  if (Number.isSafeInteger(length)) return length
  throw protocolError(request, 'at most 2^53 bytes', `${facts.size} bytes`)
}

function validatorOf(facts: BigIntStats): string {
  return `file:${facts.size}-${facts.ino}-${facts.mtimeNs}-${facts.ctimeNs}`
}

function compare(request: SourceRequest, expected: string, facts: BigIntStats): void {
  const actual = validatorOf(facts)
  if (actual === expected) return
  throw new PeerError('ORIGIN_CHANGED', 'The file changed while it was being read', {
    url: redactUrl(request.url),
    what: 'file',
    expected,
    actual,
  })
}

function protocolError(request: SourceRequest, expected: string, actual: string): PeerError {
  const details = { url: redactUrl(request.url), expected, actual }
  return new PeerError('ORIGIN_PROTOCOL', `Wanted ${expected}, found ${actual}`, details)
}

/** Turns the errors of the file system into ours. */
async function guarded<T>(request: SourceRequest, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (PeerError.is(error)) throw error
    throw mapped(request, error)
  }
}

function mapped(request: SourceRequest, cause: unknown): PeerError {
  const url = redactUrl(request.url)
  const hasCode = cause instanceof Error && 'code' in cause && typeof cause.code === 'string'
  const code = hasCode ? String(cause.code) : 'unknown'
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new PeerError('ORIGIN_NOT_FOUND', 'There is no such file', { url }, { cause })
    case 'EACCES':
    case 'EPERM':
      return new PeerError('ORIGIN_FORBIDDEN', 'The file may not be read', { url }, { cause })
    default: {
      const details = { url, attempts: 1, reason: code }
      return new PeerError('ORIGIN_UNREACHABLE', `The file cannot be read: ${code}`, details, {
        cause,
      })
    }
  }
}

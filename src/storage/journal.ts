import { rename, rm } from 'node:fs/promises'
import { ftruncate, fsync } from 'node:fs'
import { PeerError } from '../errors.ts'
import type { Xxhash } from '../hash/xxhash.ts'
import { type Deferred, deferred } from '../util/deferred.ts'
import { withErrno } from './errno.ts'
import { decodeRecord, encodeRecord, type JournalRecord } from './journal-record.ts'
import { removeLeftover } from './leftover.ts'
import { createFlags, OpenFile, writeFlags } from './open-file.ts'

/** Version of the folder that this code writes and reads. */
const storeVersion = 1
/** Longest line, checksum and end included. A record that needs a longer one is refused. */
const lineBytesMax = 64 * 1024
/** The journal is read, and a new one written, in parts of about this length. */
const partBytes = 256 * 1024
/** With fewer records a compaction is not worth its work. */
const compactRecordsMin = 4096
const checksumLength = 16

/** What a compaction asks of the store. */
export interface JournalSource {
  /** Records that say everything that is known now. */
  snapshot(): Iterable<JournalRecord>
  /** About how many these are. */
  liveCount(): number
}

/**
 * What the store knows beside content, as a file of lines: the xxh64 of a record in 16 hexadecimal digits, a space, the record as JSON. The first line
 * holds the version.
 *
 * Records of one turn of the event loop are written together, at a place that only moves when the write was good: a write that failed in
 * the middle is cut off, or written over by the next. There is no `fsync` before the end. After a crash the first line that is torn, or whose
 * checksum is wrong, ends the journal; what stood behind it is fetched again. A piece whose record is there and whose bytes are not is found by its own
 * checksum when it is first used.
 */
export class Journal {
  readonly #path: string
  readonly #xxhash: Xxhash
  readonly #source: JournalSource
  #file: OpenFile
  /** Where the good records end. */
  #end: number
  /** Records up to there. */
  #records: number
  /** A compaction is thought of when there are so many. */
  #compactAt: number
  #pending: string[] = []
  /** Settled when all pending records are written. */
  #batch: Deferred<void> | undefined
  #writing: Promise<void> = Promise.resolve()
  #closed = false

  private constructor(
    place: { readonly path: string; readonly xxhash: Xxhash; readonly source: JournalSource },
    file: OpenFile,
    read: { readonly end: number; readonly records: number },
  ) {
    this.#path = place.path
    this.#xxhash = place.xxhash
    this.#source = place.source
    this.#file = file
    this.#end = read.end
    this.#records = read.records
    this.#compactAt = compactRecordsMin
  }

  /**
   * Opens the journal, hands each record in it to `onRecord`, and cuts off what is not good. `onRecord` may say false: the record makes no sense, so
   * the journal ends there.
   *
   * @throws PeerError STORE_VERSION, STORE_FAILED, NO_SPACE, PERMISSION_DENIED
   */
  static async open(
    place: { readonly path: string; readonly xxhash: Xxhash; readonly source: JournalSource },
    onRecord: (record: JournalRecord) => boolean,
  ): Promise<Journal> {
    // What a process that died while it compacted has left: nobody reads it, and it may be as long as the journal.
    await removeNew(place.path)
    const file = await openOrNothing(place.path)
    if (file === undefined) {
      const made = await writeNew(place.path, place.xxhash, [])
      return new Journal(place, made.file, made)
    }
    try {
      const read = await readAll(file, place, onRecord)
      await file.call('truncate', (fd, done) => ftruncate(fd, read.end, done))
      return new Journal(place, file, read)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** Resolves when the record is written. Records keep their order. @throws PeerError NO_SPACE, STORE_FAILED, CLOSED; RangeError when it is too long, TypeError when it could not be read again */
  append(...records: readonly JournalRecord[]): Promise<void> {
    if (this.#closed) {
      return Promise.reject(new PeerError('CLOSED', 'The store is closed', { what: 'store' }))
    }
    const lines: string[] = []
    try {
      for (const record of records) lines.push(line(record, this.#xxhash))
    } catch (error) {
      return Promise.reject(error)
    }
    this.#pending.push(...lines)
    if (this.#batch === undefined) {
      this.#batch = deferred()
      // After everything else of this turn, and after the write that is under way.
      setImmediate(() => {
        this.#writing = this.#writing.then(() => this.#flush())
      })
    }
    return this.#batch.promise
  }

  /** Writes a new journal if most of this one is dead. How long it is does not tell: one record that deletes a task is the death of many. */
  async tidy(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#compact())
    await this.#writing
  }

  /** Writes what is pending, and makes the disk keep all of it. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    while (this.#batch !== undefined) {
      // Whoever appended is told of a failure; here it is enough that the write has ended.
      await this.#batch.promise.catch(() => undefined)
    }
    await this.#writing
    try {
      await this.#file.call('fsync', (fd, done) => fsync(fd, done))
    } finally {
      await this.#file.close()
    }
  }

  /** Never rejects: the batch carries the failure to those who appended. */
  async #flush(): Promise<void> {
    const batch = this.#batch
    const lines = this.#pending
    this.#batch = undefined
    this.#pending = []
    const bytes = Buffer.from(lines.join(''))
    try {
      await this.#file.write(bytes, this.#end)
      this.#end += bytes.length
      this.#records += lines.length
      batch?.resolve()
    } catch (error) {
      batch?.reject(error)
      // If this fails too, the next batch is written over the torn one, and a crash before that leaves a torn end as any crash does.
      const end = this.#end
      await this.#file
        .call('truncate', (fd, done) => ftruncate(fd, end, done))
        .catch(() => undefined)
      return
    }
    if (this.#records >= this.#compactAt) await this.#compact()
  }

  /** Writes a new journal and puts it in the place of this one, when more than half of it is dead. Appends wait meanwhile. */
  async #compact(): Promise<void> {
    const live = this.#source.liveCount()
    this.#compactAt = Math.max(compactRecordsMin, 2 * live, this.#records + compactRecordsMin)
    if (this.#records < Math.max(compactRecordsMin, 2 * live) || this.#closed) return
    try {
      const made = await writeNew(this.#path, this.#xxhash, this.#source.snapshot())
      const old = this.#file
      this.#file = made.file
      this.#end = made.end
      this.#records = made.records
      this.#compactAt = Math.max(compactRecordsMin, 2 * made.records)
      await old.close()
    } catch {
      // The old journal is whole and goes on. `#compactAt` has moved, so the next try comes after as much growth again, not at once.
    }
  }
}

async function openOrNothing(path: string): Promise<OpenFile | undefined> {
  try {
    return await OpenFile.open(path, writeFlags)
  } catch (error) {
    if (PeerError.is(error, 'FILE_NOT_FOUND')) return undefined
    throw error
  }
}

function line(record: JournalRecord, xxhash: Xxhash): string {
  const text = encodeRecord(record)
  // What a caller gave is checked before it is written: a line that cannot be read ends the journal, with all that comes behind it.
  if ((record.is === 'task' || record.is === 'record') && decodeRecord(text) === undefined) {
    throw new TypeError('The record of the task has a field of a wrong type')
  }
  const bytes = Buffer.from(text)
  if (bytes.length + checksumLength + 2 > lineBytesMax) {
    throw new RangeError(
      `A record of a task has at most ${lineBytesMax} bytes, got ${bytes.length}`,
    )
  }
  return `${checksum(bytes, xxhash)} ${text}\n`
}

function checksum(bytes: Uint8Array, xxhash: Xxhash): string {
  return xxhash.h64(bytes).toString(16).padStart(checksumLength, '0')
}

const headerPattern = /^dragonfly-peer store ([0-9]{1,9})$/

/** Under another name until it is whole and on the disk: a journal is never seen without its first line. */
async function writeNew(
  path: string,
  xxhash: Xxhash,
  records: Iterable<JournalRecord>,
): Promise<{ readonly file: OpenFile; readonly end: number; readonly records: number }> {
  const temporary = await removeNew(path)
  const file = await OpenFile.open(temporary, createFlags)
  try {
    let end = 0
    let count = 0
    let part = `dragonfly-peer store ${storeVersion}\n`
    const write = async (): Promise<void> => {
      const bytes = Buffer.from(part)
      part = ''
      await file.write(bytes, end)
      end += bytes.length
    }
    for (const record of records) {
      part += line(record, xxhash)
      count++
      if (part.length >= partBytes) await write()
    }
    await write()
    await file.call('fsync', (fd, done) => fsync(fd, done))
    await withErrno({ path, operation: 'rename' }, rename(temporary, path))
    return { file, end, records: count }
  } catch (error) {
    // Why it could not be written is what is told.
    await file.close().catch(() => undefined)
    await removeLeftover(temporary)
    throw error
  }
}

/** Makes sure that nothing stands where a new journal is written; that name. */
async function removeNew(path: string): Promise<string> {
  const temporary = `${path}.new`
  await withErrno({ path: temporary, operation: 'remove' }, rm(temporary, { force: true }))
  return temporary
}

/** Reads up to the first bad line. */
async function readAll(
  file: OpenFile,
  place: { readonly path: string; readonly xxhash: Xxhash },
  onRecord: (record: JournalRecord) => boolean,
): Promise<{ readonly end: number; readonly records: number }> {
  const buffer = Buffer.allocUnsafe(partBytes)
  /** Bytes of the buffer that hold a line whose end was not read yet. */
  let kept = 0
  let position = 0
  let end = 0
  let records = -1
  for (;;) {
    const count = await file.read(buffer.subarray(kept), position)
    position += count
    const filled = kept + count
    let at = 0
    for (let stop = buffer.indexOf(10, at); stop >= 0 && stop < filled; ) {
      const text = buffer.subarray(at, stop)
      if (records < 0) refuseVersion(text, place.path)
      else if (!takeLine(text, place.xxhash, onRecord)) return { end, records }
      records++
      end += stop + 1 - at
      at = stop + 1
      stop = buffer.indexOf(10, at)
    }
    // A first line without its end was never written by this.
    if (records < 0) refuseVersion(Buffer.alloc(0), place.path)
    kept = filled - at
    if (count === 0 || kept > lineBytesMax) return { end, records }
    buffer.copyWithin(0, at, filled)
  }
}

function takeLine(
  text: Buffer,
  xxhash: Xxhash,
  onRecord: (record: JournalRecord) => boolean,
): boolean {
  if (text.length > lineBytesMax || text[checksumLength] !== 32) return false
  const json = text.subarray(checksumLength + 1)
  if (text.toString('latin1', 0, checksumLength) !== checksum(json, xxhash)) return false
  const record = decodeRecord(json.toString())
  return record !== undefined && onRecord(record)
}

/** The first line is written and synced before the journal gets its name, so anything else there was never a journal of ours, or is of another version. */
function refuseVersion(text: Buffer, path: string): void {
  const version = Number(headerPattern.exec(text.toString('latin1'))?.[1] ?? 0)
  if (version === storeVersion) return
  throw new PeerError(
    'STORE_VERSION',
    `${path} is of version ${version}, this is version ${storeVersion}`,
    { path, version, supported: storeVersion },
  )
}

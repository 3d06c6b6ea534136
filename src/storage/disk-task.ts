import { rename, rm } from 'node:fs/promises'
import { PeerError } from '../errors.ts'
import { type Geometry, type Piece, pieceAt } from '../task/piece.ts'
import type { OpenPiece } from '../task/ports.ts'
import { Scope } from '../util/scope.ts'
import { BasicTask } from './basic-task.ts'
import { copyGoodPieces } from './content-copy.ts'
import { ContentFile } from './content-file.ts'
import { outputContent } from './content-output.ts'
import type { Lease } from './descriptors.ts'
import type { DiskHost } from './disk-host.ts'
import { DiskPiece } from './disk-piece.ts'
import { DiskSlot } from './disk-slot.ts'
import { withErrno } from './errno.ts'
import type { FillSlot } from './fill-slot.ts'
import { fileRecord, type JournalRecord, pieceRecord, taskRecord } from './journal-record.ts'
import { removeLeftover } from './leftover.ts'
import type { Stamp } from './open-file.ts'
import type { KeptPiece, PieceTable } from './piece-table.ts'
import { Reservation } from './reservation.ts'
import type { OutputOptions, OutputWay, TaskRecord } from './store.ts'
import { Turns } from './turns.ts'

/** What a task starts with. */
export interface DiskTaskState {
  /** Its number in the journal. */
  readonly key: number
  readonly record: TaskRecord
  readonly cut: Geometry
  readonly usedAt: number
  readonly content: ContentFile
  /** Bytes that were taken from the quota for it. */
  readonly bytesTaken: number
  /** Pieces kept in an earlier run. */
  readonly table?: PieceTable
}

/** The journal gets so many records at once. */
const recordsAtOnce = 512
/** The event loop gets a turn after so many pieces. */
const comparesAtOnce = 256

/**
 * A task whose content is a file.
 *
 * Who owns what: this class decides which pieces are kept, and replaces the file. `ContentFile` knows which are believed, `Descriptors` owns the
 * descriptors, `DiskSlot` the slabs, `Reservation` the room. Everything that changes which file it is, or hands it out as a whole, goes through one line
 * (`#turns`): linking, replacing and removing never meet.
 *
 * A file that somebody else can write to is never written to here: to fetch a damaged piece again, the good ones are copied into a new file first.
 */
export class DiskTask extends BasicTask {
  /** Its number in the journal. */
  readonly key: number
  readonly memory: undefined
  /** Its room in the store. */
  readonly room: Reservation
  readonly #host: DiskHost
  readonly #turns = new Turns()
  #content: ContentFile
  #savedUsedAt: number

  constructor(host: DiskHost, state: DiskTaskState) {
    super(host, state.record, state.cut, state.usedAt, state.table)
    this.#host = host
    this.key = state.key
    this.room = new Reservation(host.quota, state.bytesTaken)
    this.#content = state.content
    this.#savedUsedAt = state.usedAt
  }

  /** Bytes that room was taken for and that are on the disk. */
  get bytesWritten(): number {
    return Math.min(this.room.taken, this.table.bytes)
  }

  /** Whether it is cut like this. */
  isCut({ contentLength, pieceLength }: Geometry): boolean {
    return (
      this.geometry.contentLength === contentLength && this.geometry.pieceLength === pieceLength
    )
  }

  /** Whether these sums are those of its pieces. */
  matches(sums: readonly { readonly crc: number; readonly xxh64: bigint }[]): boolean {
    return sums.every(({ crc, xxh64 }, number) => {
      const kept = this.table.get(number)
      return kept !== undefined && kept.crc === crc && kept.xxh64 === xxh64
    })
  }

  protected get place(): string {
    return this.#content.path
  }

  /** What the journal has to say of it. */
  *records(): Generator<JournalRecord> {
    const { key, record } = this
    yield taskRecord(key, record, this.geometry)
    if (this.#content.ownership !== 'own') yield fileRecord(key, this.#content)
    yield this.use()
    for (const number of this.table.numbers()) {
      const piece = this.table.get(number)
      if (piece !== undefined) yield pieceRecord(key, number, piece)
    }
  }

  /** The journal knows of its last use. */
  get useSaved(): boolean {
    return this.usedAt === this.#savedUsedAt
  }

  /** Its last use, for the journal. */
  use(): JournalRecord & { readonly is: 'used' } {
    return { is: 'used', key: this.key, usedAt: this.usedAt }
  }

  /** The journal knows of that use. */
  savedUse(usedAt: number): void {
    this.#savedUsedAt = usedAt
  }

  /** Takes over pieces that lie in the file already and were seen to do so. */
  async fillIn(pieces: readonly KeptPiece[]): Promise<void> {
    for (let from = 0; from < pieces.length; from += recordsAtOnce) {
      const part = pieces.slice(from, from + recordsAtOnce)
      const records = part.map((piece, at) => pieceRecord(this.key, from + at, piece))
      await this.#host.journal.append(...records)
      for (const [at, piece] of part.entries()) {
        this.#content.believe(from + at)
        this.keep(from + at, piece)
      }
    }
  }

  /** Removes the file, if it is the store's, after what is being done with it. Readers keep their descriptors. */
  async removeFile(): Promise<void> {
    await this.#turns.run('file', async () => {
      const { ownership, path } = this.#content
      this.#host.descriptors.drop(this.#content)
      if (ownership === 'adopted') return
      await withErrno({ path, operation: 'remove' }, rm(path, { force: true }))
    })
  }

  /** Resolves when nothing is being done with the file as a whole. */
  async settled(): Promise<void> {
    await this.#turns.settled()
  }

  async output(path: string, options: OutputOptions): Promise<OutputWay> {
    this.refuseGone()
    using scope = new Scope([this.#host.lifetime, options.signal])
    const { signal } = scope
    return await this.whileHeld(() => {
      return this.#turns.run('file', async () => {
        this.refuseGone()
        signal.throwIfAborted()
        if (!this.complete) throw this.incomplete()
        this.touch()
        return await this.#output(path, { ...options, signal })
      })
    })
  }

  protected async saveRecord(): Promise<void> {
    await this.#host.journal.append({ is: 'record', key: this.key, record: this.record })
  }

  protected async savePiece(number: number, piece: KeptPiece): Promise<void> {
    await this.#host.journal.append(pieceRecord(this.key, number, piece))
    this.#content.believe(number)
  }

  protected async makeSlot(
    piece: Piece,
    signal: AbortSignal,
    release: () => void,
  ): Promise<FillSlot> {
    const { slabs } = this.#host
    await this.room.fill(this.table.bytes, piece.length)
    const unfill = (): void => this.room.filled(piece.length)
    try {
      const lease = await this.#leaseToWrite(signal)
      try {
        const slab = await slabs.take(signal)
        const onEnd = (): void => {
          unfill()
          release()
        }
        const sum = this.#host.pieceSum()
        return new DiskSlot(this, piece, { sum, pool: slabs, slab, lease, onEnd })
      } catch (error) {
        lease.release()
        throw error
      }
    } catch (error) {
      unfill()
      throw error
    }
  }

  protected async openKept(
    piece: Piece,
    kept: KeptPiece,
    signal: AbortSignal,
    onClose: () => void,
  ): Promise<OpenPiece> {
    for (;;) {
      const content = this.#content
      const lease = await this.#leaseToRead(content)
      try {
        const seen = await this.#compare(content, lease, piece, signal)
        signal.throwIfAborted()
        if (seen !== undefined) {
          const damaged = (): unknown => this.#damagedError(content, piece)
          return new DiskPiece(piece, kept, { content, lease, ...seen, damaged, onClose })
        }
        lease.release()
      } catch (error) {
        lease.release()
        throw error
      }
      // The file was replaced meanwhile, and the new one holds the piece unless it was dropped.
      if (!this.has(piece.number)) throw this.#damagedError(content, piece)
    }
  }

  protected override letGo(): void {
    this.room.trim(this.#keptBytes())
  }

  protected override added(): void {
    if (this.complete) this.room.trim(this.#keptBytes())
  }

  /** Bytes kept in this store's own files. */
  #keptBytes(): number {
    return this.#content.ownership === 'adopted' ? 0 : this.table.bytes
  }

  async #output(path: string, options: OutputOptions): Promise<OutputWay> {
    const content = this.#content
    const { key, geometry: cut } = this
    const lease = await this.#leaseToRead(content)
    try {
      await this.#compareAll(content, lease, options.signal)
      const saveLinked = (): Promise<void> =>
        this.#host.journal.append({ is: 'file', key, ownership: 'linked' })
      const damaged = (): unknown => this.#damagedError(content, undefined)
      const { notes } = this.#host
      const source = { content, lease, cut, saveLinked, damaged, notes }
      return await outputContent(this.#host, source, path, options)
    } finally {
      lease.release()
    }
  }

  /** All of it before it says what is wrong, so that everything damaged can be fetched again at once. */
  async #compareAll(content: ContentFile, lease: Lease, signal: AbortSignal): Promise<void> {
    let failure: { readonly error: unknown } | undefined
    for (let number = 0; number < this.geometry.pieceCount; number++) {
      if (number % comparesAtOnce === comparesAtOnce - 1) {
        await new Promise<void>((resolve) => setImmediate(resolve))
      }
      try {
        await this.#compare(content, lease, pieceAt(this.geometry, number), signal)
      } catch (error) {
        if (!PeerError.is(error, 'STORE_CORRUPT', 'FILE_CHANGED')) throw error
        failure ??= { error }
      }
    }
    if (failure !== undefined) throw failure.error
  }

  /** Makes sure that the piece in this file is what was kept. One that is not is dropped. Undefined when the task has another file by now. */
  async #compare(
    content: ContentFile,
    lease: Lease,
    piece: Piece,
    signal: AbortSignal,
  ): Promise<{ readonly stamp: Stamp | undefined } | undefined> {
    const kept = this.table.get(piece.number)
    if (kept === undefined) throw this.#damagedError(content, piece)
    const compared = await content.compare(lease, piece, kept.xxh64, signal)
    if (this.#content !== content) return undefined
    if (compared.is === 'same') return compared
    if (compared.is === 'damaged') await this.#damaged([piece.number])
    throw this.#damagedError(content, piece)
  }

  async #damaged(numbers: readonly number[]): Promise<void> {
    for (let from = 0; from < numbers.length; from += recordsAtOnce) {
      const part = numbers.slice(from, from + recordsAtOnce)
      for (const number of part) this.drop(pieceAt(this.geometry, number))
      await this.#noteDamaged(part)
    }
  }

  /** Somebody removed the file: nothing of it is kept any more. */
  async #lost(): Promise<void> {
    let part: number[] = []
    for (const number of this.dropAll()) {
      part.push(number)
      if (part.length < recordsAtOnce) continue
      await this.#noteDamaged(part)
      part = []
    }
    await this.#noteDamaged(part)
  }

  async #noteDamaged(numbers: readonly number[]): Promise<void> {
    if (numbers.length === 0) return
    const { key } = this
    await this.#host.journal.append(
      ...numbers.map((number) => ({ is: 'damaged', key, number }) as const),
    )
  }

  #damagedError(content: ContentFile, piece: Piece | undefined): PeerError {
    const { path } = content
    const { id: task } = this.record
    if (content.ownership === 'adopted') {
      return new PeerError('FILE_CHANGED', `${path} is not what was seeded`, { path, task })
    }
    return this.corrupt(piece?.number)
  }

  async #leaseToRead(content: ContentFile): Promise<Lease> {
    try {
      return await content.lease(false)
    } catch (error) {
      if (this.gone) throw this.notFound()
      if (!PeerError.is(error, 'FILE_NOT_FOUND')) throw error
      if (this.#content === content) await this.#lost()
      throw this.#damagedError(content, undefined)
    }
  }

  async #leaseToWrite(signal: AbortSignal): Promise<Lease> {
    if (this.#content.ownership !== 'own') await this.#replaceFile(signal)
    const content = this.#content
    try {
      return await content.lease(true)
    } catch (error) {
      if (this.gone) throw this.notFound()
      if (!PeerError.is(error, 'FILE_NOT_FOUND')) throw error
      await this.#replaceFile(signal, content)
      return await this.#content.lease(true)
    }
  }

  /** Gives the task a file of its own, with a copy of all pieces that are good. `lost` is the own file that is not there any more. */
  async #replaceFile(signal: AbortSignal, lost?: ContentFile): Promise<void> {
    await this.#turns.run('file', async () => {
      const old = this.#content
      this.refuseGone()
      if (old.ownership === 'own' && old !== lost) return
      await this.room.cover(this.table.bytes)
      const { folder } = this.#host
      const path = folder.contentPath(this.record.id)
      const temporary = folder.newPath()
      await folder.makeFolderFor(this.record.id)
      const into = new ContentFile(this.#host, path, this.geometry, 'own')
      try {
        await this.#copyGood(old, into, temporary, signal)
        this.refuseGone()
        await withErrno({ path, operation: 'rename' }, rename(temporary, path))
      } catch (error) {
        await removeLeftover(temporary)
        throw error
      }
      this.#content = into
      this.#host.descriptors.drop(old)
      await this.#host.journal.append({ is: 'file', key: this.key, ownership: 'own' })
    })
  }

  async #copyGood(
    from: ContentFile,
    into: ContentFile,
    path: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { geometry: cut, table } = this
    let lease: Lease | undefined
    try {
      if (table.count > 0) lease = await this.#leaseToRead(from)
    } catch (error) {
      // The old file is gone, and its pieces were dropped: there is nothing to copy.
      if (!PeerError.is(error, 'STORE_CORRUPT', 'FILE_CHANGED')) throw error
    }
    try {
      const damaged = await copyGoodPieces(this.#host, { cut, table, lease, into }, path, signal)
      await this.#damaged(damaged)
    } finally {
      lease?.release()
    }
  }
}

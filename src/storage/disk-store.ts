import { setMaxListeners } from 'node:events'
import { ftruncate } from 'node:fs'
import { rename } from 'node:fs/promises'
import { resolve } from 'node:path'
import { PeerError } from '../errors.ts'
import { loadXxhash } from '../hash/xxhash.ts'
import { publish } from '../hooks.ts'
import type { Geometry } from '../task/piece.ts'
import type { OpenPiece } from '../task/ports.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import { Scope } from '../util/scope.ts'
import { readAdopted } from './adoption.ts'
import { ContentFile } from './content-file.ts'
import { Descriptors } from './descriptors.ts'
import type { DiskHost, NewTask } from './disk-host.ts'
import type { DiskSpoolHost, SpooledContent } from './disk-spool.ts'
import { DiskSpools } from './disk-spools.ts'
import { DiskTask } from './disk-task.ts'
import { DiskTasks } from './disk-tasks.ts'
import { withErrno } from './errno.ts'
import { Collector, type GcOptions, highWater } from './gc.ts'
import type { GcChoice } from './gc-policy.ts'
import { Journal } from './journal.ts'
import { fileRecord, type JournalRecord, taskRecord } from './journal-record.ts'
import { removeLeftover } from './leftover.ts'
import type { OpenFile } from './open-file.ts'
import { OutputNotes } from './output-notes.ts'
import { Pace } from './pace.ts'
import type { PieceSums } from './piece-check.ts'
import { pieceSums } from './piece-sum.ts'
import { Quota } from './quota.ts'
import { type RecoveredTask, Recovery } from './recovery.ts'
import { SlabPool } from './slabs.ts'
import type {
  CreateOptions,
  KeptTask,
  PieceWanted,
  Spool,
  Store,
  StoreUsage,
  TaskRecord,
} from './store.ts'
import { StoreFolder } from './store-folder.ts'
import { StoreLock } from './store-lock.ts'
import { Turns } from './turns.ts'

/** Slabs for pieces that are compared or copied. */
const readSlabCount = 4

/** How a disk store is opened. */
export interface DiskStoreOptions extends GcOptions {
  /** The store's folder; made if it is not there. On a local file system. */
  readonly dir: string
  /** Most bytes of content that are kept. @defaultValue what the disk holds */
  readonly bytesMax?: number
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
  /** Memory for pieces on their way to the disk. @defaultValue a pool of its own, 16 MiB */
  readonly slabs?: SlabPool
  /** `false`: without the addon of `native/flow`, also where it loads. @defaultValue `true` */
  readonly native?: boolean
}

/**
 * Keeps tasks in a folder, each in one file of full length. What is kept outlives the process, and also its violent end.
 *
 * Order of things: `StoreLock` makes the folder this process's own, `Journal` tells `Recovery` what is kept, `StoreFolder` removes what is not. From then
 * on a task is made, replaced and deleted in the line of its id (`#turns`), and lives in `DiskTask`.
 */
export class DiskStore implements Store {
  readonly name = 'disk'
  readonly notes: OutputNotes
  readonly #tasks: DiskTasks
  readonly #turns = new Turns()
  readonly #lifetime: AbortController
  readonly #folder: StoreFolder
  readonly #lock: StoreLock
  readonly #host: DiskHost
  readonly #collector: Collector
  #nextKey: number
  readonly #spools = new DiskSpools()
  #closing: Promise<void> | undefined

  private constructor(parts: StoreParts, options: DiskStoreOptions) {
    const { tasks, folder, journal, notes } = parts
    const clock = options.clock ?? systemClock
    this.#tasks = tasks
    this.#folder = folder
    this.notes = notes
    this.#lock = parts.lock
    this.#nextKey = parts.nextKey
    this.#lifetime = new AbortController()
    const { signal: lifetime } = this.#lifetime
    // Every running call listens; there is nothing to warn of.
    setMaxListeners(0, lifetime)
    const quota = new Quota({
      path: folder.path,
      bytesMax: options.bytesMax ?? Number.MAX_SAFE_INTEGER,
      highWater: options.highWater ?? highWater,
      collect: () => this.#collector.collect(),
      free: () => folder.free(),
      written: () => tasks.bytesWritten() + this.#spools.bytes,
      now: () => clock.now(),
    })
    this.#host = {
      clock,
      lifetime,
      journal,
      quota,
      descriptors: new Descriptors(clock),
      slabs: options.slabs ?? new SlabPool(),
      readSlabs: new SlabPool({ count: readSlabCount }),
      xxhash: parts.xxhash,
      folder,
      notes,
      pieceSum: pieceSums(options.native, parts.xxhash.create64),
    }
    this.#collector = new Collector(
      {
        clock,
        tasks: () => tasks.garbage(),
        drop: (choice) => this.#collect(choice),
        capacity: () => quota.capacity(),
        tick: async () => {
          await tasks.saveUses(journal)
          await journal.tidy()
        },
      },
      options,
    )
  }

  /** @throws PeerError STORE_LOCKED, STORE_VERSION, STORE_FAILED, PERMISSION_DENIED, NO_SPACE */
  static async open(options: DiskStoreOptions): Promise<DiskStore> {
    const xxhash = await loadXxhash()
    const folder = await StoreFolder.open(options.dir)
    const lock = await StoreLock.take(folder.lock)
    let journal: Journal | undefined
    try {
      await folder.refuseForeign()
      const tasks = new DiskTasks()
      const recovery = new Recovery()
      journal = await Journal.open({ path: folder.journal, xxhash, source: tasks }, (record) =>
        recovery.play(record),
      )
      const notes = new OutputNotes(folder.outputs)
      await notes.clear()
      const { nextKey } = recovery
      const store = new DiskStore({ tasks, folder, lock, journal, nextKey, notes, xxhash }, options)
      await store.#recoverAll([...recovery.tasks().values()])
      store.#collector.start()
      return store
    } catch (error) {
      // Why it cannot be opened is what is told, whatever else goes wrong with such a disk now.
      await journal?.close().catch(() => undefined)
      await lock.release()
      throw error
    }
  }

  get(id: string): KeptTask | undefined {
    return this.#tasks.get(id)
  }

  list(): KeptTask[] {
    return [...this.#tasks.values()]
  }

  async create(record: TaskRecord, cut: Geometry, options: CreateOptions = {}): Promise<KeptTask> {
    if (options.memory !== undefined) throw new TypeError('A disk store cannot fill memory')
    return await this.#turns.run(record.id, async () => {
      this.#refuseClosed()
      const there = this.#tasks.get(record.id)
      if (there === undefined) return await this.#make(record, cut, options)
      if (!there.isCut(cut)) {
        throw new RangeError(`Task ${record.id} is kept with another length or piece length`)
      }
      await there.update(record)
      return there
    })
  }

  async spool(): Promise<Spool> {
    this.#refuseClosed()
    const { quota, readSlabs, xxhash, lifetime } = this.#host
    const take: DiskSpoolHost['take'] = (record, content) => this.#takeOver(record, content)
    const host = { quota, readSlabs, xxhash, lifetime, take }
    return await this.#spools.open(host, this.#folder.newPath())
  }

  async adopt(
    record: TaskRecord,
    path: string,
    pieceLength: number,
    signal: AbortSignal,
  ): Promise<KeptTask> {
    this.#refuseClosed()
    const place = resolve(path)
    using scope = new Scope([this.#host.lifetime, signal])
    const file = { task: record.id, path: place, pieceLength }
    const { cut, stamp, sums } = await readAdopted(this.#host, file, scope.signal)
    return await this.#turns.run(record.id, async () => {
      this.#refuseClosed()
      const same = await this.#sameContent(record, cut, sums)
      if (same !== undefined) return same
      const content = new ContentFile(this.#host, place, cut, 'adopted', stamp)
      await this.#drop(record.id, 'deleted')
      return await this.#keepWhole({ record, cut, content, sums, bytesTaken: 0 })
    })
  }

  async open(wanted: PieceWanted, signal: AbortSignal): Promise<OpenPiece> {
    this.#refuseClosed()
    const { taskId: task } = wanted
    const found = this.#tasks.get(task)
    if (found === undefined || found.record.kind !== wanted.kind) {
      throw new PeerError('TASK_NOT_FOUND', `Task ${task} is not kept`, { task })
    }
    return await found.open(wanted.number, signal)
  }

  async delete(id: string): Promise<boolean> {
    this.#refuseClosed()
    return await this.#turns.run(id, () => this.#drop(id, 'deleted'))
  }

  usage(): StoreUsage {
    const { used, bytesMax } = this.#host.quota
    return { bytes: used, bytesMax, tasks: this.#tasks.size }
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close()
    await this.#closing
  }

  async #close(): Promise<void> {
    this.#lifetime.abort(new PeerError('CLOSED', 'The store is closed', { what: 'store' }))
    await this.#collector.close()
    await this.#spools.discard()
    await this.#turns.settled()
    await Promise.all([...this.#tasks.values()].map((task) => task.settled()))
    await this.#host.descriptors.close()
    try {
      await this.#tasks.saveUses(this.#host.journal)
      await this.#host.journal.close()
    } finally {
      await this.#lock.release()
    }
  }

  /** Tasks whose file somebody removed meanwhile are not kept: a download of theirs begins anew. */
  async #recoverAll(tasks: readonly RecoveredTask[]): Promise<void> {
    const own = tasks.filter(({ ownership }) => ownership !== 'adopted')
    const there = await this.#folder.sweep(own.map(({ record }) => record.id))
    const pace = new Pace()
    for (const task of tasks) {
      if (pace.due) await pace.rest()
      if (task.ownership === 'adopted' || there.has(task.record.id)) this.#recover(task)
    }
  }

  #recover(task: RecoveredTask): void {
    const { key, record, cut, table, ownership, usedAt, stamp } = task
    const path = task.path ?? this.#folder.contentPath(record.id)
    const content = new ContentFile(this.#host, path, cut, ownership, stamp)
    const bytesTaken = ownership === 'adopted' ? 0 : table.bytes
    this.#host.quota.force(bytesTaken)
    const state = { key, record, cut, usedAt, content, bytesTaken, table }
    this.#tasks.set(record.id, new DiskTask(this.#host, state))
  }

  async #make(record: TaskRecord, cut: Geometry, options: CreateOptions): Promise<DiskTask> {
    const { contentLength } = cut
    const bytesTaken = Math.min(contentLength, options.bytesWanted ?? contentLength)
    await this.#host.quota.take(bytesTaken)
    const path = this.#folder.contentPath(record.id)
    let file: OpenFile | undefined
    try {
      file = await this.#folder.createFor(record.id)
      await file.call('truncate', (fd, done) => ftruncate(fd, contentLength, done))
      const content = new ContentFile(this.#host, path, cut, 'own')
      const task = await this.#keep({ record, cut, content, bytesTaken })
      this.#host.descriptors.adopt(content, file)
      return task
    } catch (error) {
      this.#host.quota.give(bytesTaken)
      // Why it could not be made is what is told.
      await file?.close().catch(() => undefined)
      await removeLeftover(path)
      throw error
    }
  }

  /** A spool's file becomes the file of a task. */
  async #takeOver(record: TaskRecord, spooled: SpooledContent): Promise<DiskTask> {
    const { cut, sums } = spooled
    return await this.#turns.run(record.id, async () => {
      this.#refuseClosed()
      const there = this.#tasks.get(record.id)
      if (there?.complete === true) return there
      await this.#drop(record.id, 'deleted')
      const path = this.#folder.contentPath(record.id)
      await this.#folder.makeFolderFor(record.id)
      await withErrno({ path, operation: 'rename' }, rename(spooled.path, path))
      const content = new ContentFile(this.#host, path, cut, 'own')
      const bytesTaken = cut.contentLength
      // The bytes were let in as those of the spool, which gives them back now.
      this.#host.quota.force(bytesTaken)
      try {
        return await this.#keepWhole({ record, cut, content, sums, bytesTaken })
      } catch (error) {
        if (!this.#tasks.has(record.id)) {
          this.#host.quota.give(bytesTaken)
          await removeLeftover(path)
        }
        throw error
      }
    })
  }

  async #keepWhole(task: NewTask & { readonly sums: PieceSums[] }): Promise<DiskTask> {
    const kept = await this.#keep(task)
    const createdAt = this.#host.clock.date()
    await kept.fillIn(task.sums.map((sums) => ({ ...sums, parentId: '', createdAt })))
    return kept
  }

  async #keep({ record, cut, content, bytesTaken }: NewTask): Promise<DiskTask> {
    const key = this.#nextKey++
    const records: JournalRecord[] = [taskRecord(key, record, cut)]
    if (content.ownership !== 'own') records.push(fileRecord(key, content))
    await this.#host.journal.append(...records)
    const usedAt = this.#host.clock.date()
    const task = new DiskTask(this.#host, { key, record, cut, usedAt, content, bytesTaken })
    this.#tasks.set(record.id, task)
    return task
  }

  /** What is kept of this id, if it is the same content to the last bit. */
  async #sameContent(
    record: TaskRecord,
    cut: Geometry,
    sums: PieceSums[],
  ): Promise<DiskTask | undefined> {
    const there = this.#tasks.get(record.id)
    if (there === undefined || !there.isCut(cut) || !there.matches(sums)) return undefined
    await there.update(record)
    return there
  }

  async #collect(choice: GcChoice): Promise<void> {
    // Somebody works on that very task. Waiting for them could be for ever: they may wait for room, and so for this collection.
    if (this.#turns.busy(choice.id)) return
    await this.#turns.run(choice.id, async () => {
      // Somebody may have come since the policy looked.
      if (this.#tasks.get(choice.id)?.held === false) await this.#drop(choice.id, choice.why)
    })
  }

  /** Forgets a task: at once for those who ask, then in the journal, then on the disk. A crash in between leaves a file that the next start removes. */
  async #drop(id: string, why: 'ttl' | 'usage' | 'deleted'): Promise<boolean> {
    const task = this.#tasks.get(id)
    if (task === undefined) return false
    this.#tasks.delete(id)
    const bytes = task.room.taken
    task.forget()
    publish('dragonfly-peer:store:dropped', () => ({ task: id, bytes, why }))
    const deleted = { is: 'deleted', key: task.key } as const
    try {
      // A full disk takes no record, and this is how it gets room: then the file goes first. A task without its file is not recovered, so that does no harm.
      const noted = await this.#host.journal.append(deleted).then(
        () => true,
        () => false,
      )
      await task.removeFile()
      if (!noted) await this.#host.journal.append(deleted)
    } finally {
      task.room.drop()
    }
    return true
  }

  #refuseClosed(): void {
    this.#lifetime.signal.throwIfAborted()
  }
}

interface StoreParts {
  readonly tasks: DiskTasks
  readonly folder: StoreFolder
  readonly lock: StoreLock
  readonly journal: Journal
  readonly nextKey: number
  readonly notes: OutputNotes
  readonly xxhash: DiskHost['xxhash']
}

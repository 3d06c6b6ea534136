import { sharedQueryParams } from '../hash/task-url.ts'
import { type Geometry, geometry } from '../task/piece.ts'
import type { Ownership } from './content-file.ts'
import type { JournalRecord } from './journal-record.ts'
import type { Stamp } from './open-file.ts'
import { PieceTable } from './piece-table.ts'
import type { TaskRecord } from './store.ts'

/** A task as the journal left it. */
export interface RecoveredTask {
  readonly key: number
  record: TaskRecord
  readonly cut: Geometry
  readonly table: PieceTable
  ownership: Ownership
  /** Where an adopted file lies. */
  path: string | undefined
  stamp: Stamp | undefined
  usedAt: number
}

/** Plays the journal. Records may repeat what earlier ones said; one that speaks of a task that is not there is behind its deletion, and means nothing. */
export class Recovery {
  readonly #tasks = new Map<number, RecoveredTask>()
  #keyMax = 0

  /** The number for the next task. */
  get nextKey(): number {
    return this.#keyMax + 1
  }

  /** The tasks; of two with one id the later one. Without those of which no piece was kept: they would stay for ever, because dropping them frees nothing. */
  tasks(): Map<string, RecoveredTask> {
    const tasks = new Map<string, RecoveredTask>()
    for (const task of this.#tasks.values()) {
      tasks.delete(task.record.id)
      if (task.table.count > 0 || task.cut.pieceCount === 0) tasks.set(task.record.id, task)
    }
    return tasks
  }

  /** False when the record makes no sense. */
  play(record: JournalRecord): boolean {
    if (record.is === 'task') return this.#begin(record)
    const task = this.#tasks.get(record.key)
    if (task === undefined) return true
    switch (record.is) {
      case 'record':
        task.record = slim(record.record)
        break
      case 'piece': {
        const { number, crc, xxh64, parentId, createdAt } = record
        if (number >= task.cut.pieceCount) return false
        task.table.add(number, { crc, xxh64, parentId, createdAt })
        break
      }
      case 'damaged':
        task.table.delete(record.number)
        break
      case 'file':
        task.ownership = record.ownership
        task.path = record.path
        task.stamp = record.stamp
        break
      case 'used':
        task.usedAt = record.usedAt
        break
      case 'deleted':
        this.#tasks.delete(record.key)
        break
    }
    return true
  }

  #begin(record: JournalRecord & { readonly is: 'task' }): boolean {
    const { key } = record
    const known = this.#tasks.get(key)
    if (known !== undefined) {
      known.record = slim(record.record)
      return true
    }
    let cut: Geometry
    try {
      cut = geometry(record.contentLength, record.pieceLength)
    } catch (error) {
      if (error instanceof RangeError) return false
      throw error
    }
    this.#keyMax = Math.max(this.#keyMax, key)
    this.#tasks.set(key, {
      key,
      record: slim(record.record),
      cut,
      table: new PieceTable(cut),
      ownership: 'own',
      path: undefined,
      stamp: undefined,
      usedAt: record.record.createdAt,
    })
    return true
  }
}

/** A journal repeats the list of query parameters for every task. */
function slim(record: TaskRecord): TaskRecord {
  const { filteredQueryParams: names } = record
  return Array.isArray(names)
    ? { ...record, filteredQueryParams: sharedQueryParams(names) }
    : record
}

import type { GcTask } from './gc-policy.ts'
import type { DiskTask } from './disk-task.ts'
import type { JournalSource } from './journal.ts'
import type { JournalRecord } from './journal-record.ts'

/** Records of a task beside its pieces. */
const recordsOfTask = 3

/** The tasks of a disk store by id, and what is asked of all of them together. */
export class DiskTasks extends Map<string, DiskTask> implements JournalSource {
  *snapshot(): Generator<JournalRecord> {
    for (const task of this.values()) yield* task.records()
  }

  liveCount(): number {
    return this.#sum((task) => recordsOfTask + task.keptCount)
  }

  /** Bytes that room was taken for and that are on the disk. */
  bytesWritten(): number {
    return this.#sum((task) => task.bytesWritten)
  }

  /** The tasks, as collection sees them. */
  garbage(): GcTask[] {
    return [...this.values()].map((task) => task.garbage(task.room.taken))
  }

  /** When tasks were used, as far as the journal does not know. */
  unsavedUses(): JournalRecord[] {
    const records: JournalRecord[] = []
    for (const task of this.values()) {
      const record = task.unsavedUse()
      if (record !== undefined) records.push(record)
    }
    return records
  }

  #sum(of: (task: DiskTask) => number): number {
    let total = 0
    for (const task of this.values()) total += of(task)
    return total
  }
}

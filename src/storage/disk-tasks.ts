import type { DiskTask } from './disk-task.ts'
import type { GcTask } from './gc-policy.ts'
import type { Journal, JournalSource } from './journal.ts'
import type { JournalRecord } from './journal-record.ts'
import { Pace } from './pace.ts'

/** Records of a task beside its pieces. */
const recordsOfTask = 3
/** Records of last uses that go into the journal at once. */
const usesAtOnceMax = 512

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
  *garbage(): Generator<GcTask> {
    for (const task of this.values()) yield task.garbage(task.room.taken)
  }

  /** Tells the journal when tasks were used. In parts: each record costs a checksum, and there may be as many as there are tasks. */
  async saveUses(journal: Pick<Journal, 'append'>): Promise<void> {
    const pace = new Pace()
    let used: DiskTask[] = []
    const save = async (): Promise<void> => {
      const part = used
      used = []
      const records = part.map((task) => task.use())
      await journal.append(...records)
      for (const [at, task] of part.entries()) task.savedUse(records[at]?.usedAt ?? 0)
    }
    for (const task of this.values()) {
      if (pace.due) await pace.rest()
      if (!task.useSaved) used.push(task)
      if (used.length === usesAtOnceMax) await save()
    }
    if (used.length > 0) await save()
  }

  #sum(of: (task: DiskTask) => number): number {
    let total = 0
    for (const task of this.values()) total += of(task)
    return total
  }
}

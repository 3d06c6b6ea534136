import type { Geometry } from '../task/piece.ts'
import type { TaskHost } from './basic-task.ts'
import type { ContentFile, ContentHost } from './content-file.ts'
import type { Journal } from './journal.ts'
import type { OutputNotes } from './output-notes.ts'
import type { Quota } from './quota.ts'
import type { SlabPool } from './slabs.ts'
import type { TaskRecord } from './store.ts'
import type { StoreFolder } from './store-folder.ts'

/** What a disk task needs from its store. */
export interface DiskHost extends TaskHost, ContentHost {
  readonly journal: Journal
  /** For pieces on their way in. A stalled parent keeps one as long as it may stall. */
  readonly slabs: SlabPool
  readonly quota: Quota
  readonly folder: StoreFolder
  readonly notes: OutputNotes
}

/** A task that is about to be made. */
export interface NewTask {
  readonly record: TaskRecord
  readonly cut: Geometry
  readonly content: ContentFile
  readonly bytesTaken: number
}

import type { TestContext } from 'node:test'
import type { KeptTask, PieceWanted, Store } from '../../src/storage/store.ts'
import { geometry } from '../../src/task/piece.ts'
import type { Clock } from '../../src/util/clock.ts'
import { record } from '../storage/filling.ts'
import { Content } from '../support/content.ts'

/** What a test may ask of the store that is made for it. */
export interface StoreWanted {
  readonly bytesMax?: number
  readonly ttlMs?: number
  readonly clock?: Clock
}

/** Makes a new, empty store. */
export type StoreMaker = (t: TestContext, wanted: StoreWanted) => Promise<Store>

/** Opens a store that is closed at the end of the test. */
export type Open = (t: TestContext, wanted?: StoreWanted) => Promise<Store>

/** Length of a piece. */
export const small: number = 64 * 1024

/** A task of three pieces, the last one shorter. */
export async function threePieces(store: Store, name = 'task'): Promise<[KeptTask, Content]> {
  const content = new Content(2 * small + 1000)
  return [await store.create(record(name), geometry(content.length, small)), content]
}

/** What `open()` takes. */
export function request(task: KeptTask, number: number): PieceWanted {
  return { taskId: task.record.id, kind: task.record.kind, number }
}

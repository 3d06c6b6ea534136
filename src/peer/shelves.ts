import { PeerError } from '../errors.ts'
import type { Store } from '../storage/store.ts'
import type { OpenPiece, Shelf } from '../task/ports.ts'

/** Several stores as one shelf: a piece is opened in the first that knows its task. */
export class Shelves implements Shelf {
  readonly #stores: readonly Store[]

  constructor(stores: readonly Store[]) {
    this.#stores = stores
  }

  /** See `Shelf`. */
  async open(request: Parameters<Shelf['open']>[0], signal: AbortSignal): Promise<OpenPiece> {
    const { taskId, kind } = request
    for (const store of this.#stores) {
      const task = store.get(taskId)
      if (task !== undefined && task.record.kind === kind) return store.open(request, signal)
    }
    throw new PeerError('TASK_NOT_FOUND', 'The task is not kept here', { task: taskId })
  }
}

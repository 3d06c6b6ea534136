import type { KeptTask } from '../storage/store.ts'
import { type Piece, pieceAt } from '../task/piece.ts'

/**
 * Tells which of the interesting pieces are here, in the order of asking, then the others as they come, each once. Ends when all were told, when nothing more
 * is coming (`ending` is undefined or resolves), or with an error when the task is dropped.
 *
 * @param ending - the end of the run that fetches the task, if there is one
 */
export async function* pieceNews(
  task: KeptTask,
  numbers: readonly number[],
  ending: Promise<void> | undefined,
  signal: AbortSignal,
): AsyncGenerator<Piece, 'told' | 'ended' | 'dropped' | 'aborted', undefined> {
  const missing = new Set(numbers.filter((number) => number < task.geometry.pieceCount))
  let dropped = false
  let over = ending === undefined
  let wake = (): void => undefined
  const stop = task.onKept((number) => {
    dropped ||= number === undefined
    wake()
  })
  const onAbort = (): void => wake()
  signal.addEventListener('abort', onAbort, { once: true })
  void ending?.then(() => {
    over = true
    wake()
  })
  try {
    for (;;) {
      // Made before looking, so that what comes while looking is not slept through.
      const news = new Promise<void>((resolve) => {
        wake = resolve
      })
      // Read before looking too: a piece kept by a run that has ended since is still told.
      const last = over
      for (const number of missing) {
        if (dropped || signal.aborted) break
        if (!task.has(number)) continue
        missing.delete(number)
        yield pieceAt(task.geometry, number)
      }
      if (signal.aborted) return 'aborted'
      if (dropped) return 'dropped'
      if (missing.size === 0) return 'told'
      if (last) return 'ended'
      await news
    }
  } finally {
    stop()
    signal.removeEventListener('abort', onAbort)
  }
}

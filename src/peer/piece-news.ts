import type { KeptTask } from '../storage/store.ts'
import { type Piece, pieceAt } from '../task/piece.ts'

/** Pieces that are told of at once, at most: taking an answer apart stays far below a turn of the event loop that anybody notices. */
export const toldAtOnceMax = 64

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
): AsyncGenerator<Piece, PieceNewsEnd, undefined> {
  const parts = pieceNewsInParts(task, numbers, ending, signal, 1)
  try {
    for (;;) {
      const next = await parts.next()
      if (next.done === true) return next.value
      yield* next.value
    }
  } finally {
    await parts.return('aborted')
  }
}

/** Why nothing more is told. */
export type PieceNewsEnd = 'told' | 'ended' | 'dropped' | 'aborted'

/** The same, with what is here already in parts of up to `countMax` pieces. */
export async function* pieceNewsInParts(
  task: KeptTask,
  numbers: readonly number[],
  ending: Promise<void> | undefined,
  signal: AbortSignal,
  countMax: number,
): AsyncGenerator<readonly Piece[], PieceNewsEnd, undefined> {
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
      let part: Piece[] = []
      for (const number of missing) {
        if (dropped || signal.aborted) break
        if (!task.has(number)) continue
        missing.delete(number)
        part.push(pieceAt(task.geometry, number))
        if (part.length < countMax) continue
        yield part
        part = []
      }
      if (part.length > 0 && !dropped && !signal.aborted) yield part
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

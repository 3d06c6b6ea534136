import { readFileSync } from 'node:fs'

/** Turns of the event loop, as long as they kept the main thread busy. */
export interface TurnsTaken<T> {
  readonly result: T
  /** Milliseconds of the longest. */
  readonly longestMs: number
  readonly count: number
}

/**
 * Runs work and measures each turn of the event loop meanwhile. On Linux by the time that the main thread had a processor, so that other processes on the machine do not
 * count; elsewhere by the clock.
 */
export async function measureTurns<T>(work: () => Promise<T>): Promise<TurnsTaken<T>> {
  let longestMs = 0
  let count = 0
  let running = true
  let before = busyMs()
  const turn = (): void => {
    const now = busyMs()
    longestMs = Math.max(longestMs, now - before)
    count++
    // What this measure itself takes does not count.
    before = busyMs()
    if (running) setImmediate(turn)
  }
  setImmediate(turn)
  try {
    const result = await work()
    await new Promise<void>((resolve) => setImmediate(resolve))
    return { result, longestMs, count }
  } finally {
    running = false
  }
}

function busyMs(): number {
  if (process.platform !== 'linux') return performance.now()
  // The first figure: nanoseconds on a processor, of the thread that has the number of the process, which is the main one.
  return Number(readFileSync('/proc/self/schedstat', 'latin1').split(' ')[0]) / 1e6
}

import { readFileSync } from 'node:fs'
import { PerformanceObserver } from 'node:perf_hooks'
import { setImmediate as turnOver } from 'node:timers/promises'

/** Turns of the event loop, as long as they kept the main thread busy. */
export interface TurnsTaken<T> {
  readonly result: T
  /** Milliseconds of the longest. */
  readonly longestMs: number
  readonly count: number
}

interface Span {
  readonly from: number
  readonly to: number
}

/** Only turns that took so many milliseconds are remembered until it is known what V8 did in them. */
const notedMs = 5

/**
 * Runs work and measures each turn of the event loop meanwhile. On Linux by the time that the main thread had a processor, so that other processes on the machine do not
 * count; elsewhere by the clock. What V8 took to collect garbage does not count: that is 10 to 30 ms at a time on Node.js 24, whoever made it.
 */
export async function measureTurns<T>(work: () => Promise<T>): Promise<TurnsTaken<T>> {
  const noted: (Span & { readonly ms: number })[] = []
  const collections: Span[] = []
  const observer = new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) {
      collections.push({ from: startTime, to: startTime + duration })
    }
  })
  observer.observe({ entryTypes: ['gc'] })
  let count = 0
  let running = true
  let from = performance.now()
  let before = busyMs()
  const turn = (): void => {
    const [to, ms] = [performance.now(), busyMs() - before]
    if (ms >= notedMs) noted.push({ from, to, ms })
    count++
    // What this measure itself takes does not count.
    from = performance.now()
    before = busyMs()
    if (running) setImmediate(turn)
  }
  setImmediate(turn)
  try {
    const result = await work()
    // Node tells of collections in a turn of its own.
    for (let turns = 0; turns < 3; turns++) await turnOver()
    const longestMs = Math.max(notedMs, ...noted.map((one) => one.ms - within(one, collections)))
    return { result, longestMs, count }
  } finally {
    running = false
    observer.disconnect()
  }
}

/** Milliseconds of the span that belong to these others. */
function within({ from, to }: Span, others: readonly Span[]): number {
  return others.reduce(
    (sum, other) => sum + Math.max(0, Math.min(to, other.to) - Math.max(from, other.from)),
    0,
  )
}

function busyMs(): number {
  if (process.platform !== 'linux') return performance.now()
  // The first figure: nanoseconds on a processor, of the thread that has the number of the process, which is the main one.
  return Number(readFileSync('/proc/self/schedstat', 'latin1').split(' ')[0]) / 1e6
}

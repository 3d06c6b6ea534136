/** Time as an argument: the engine and its parts never read the clock of the machine, so a simulation can be it. */
export interface Clock {
  /** Milliseconds from any fixed point; never goes back. */
  now(): number
  /** Wall-clock milliseconds since 1970, for records that leave the process. */
  date(): number
  /** Calls once after `delayMs`. The returned function takes the call back; it may be called more than once. */
  after(delayMs: number, call: () => void): () => void
}

/** Longest delay that a timer of Node holds; a longer one would fire at once. */
const timerMsMax = 2 ** 31 - 1

/** The clock of the machine. Its timers never keep the process alive. */
export const systemClock: Clock = Object.freeze({
  now: () => performance.now(),
  date: () => Date.now(),
  after(delayMs: number, call: () => void) {
    const end = performance.now() + delayMs
    let timer: NodeJS.Timeout
    const wait = (): void => {
      const left = end - performance.now()
      timer = setTimeout(left > timerMsMax ? wait : call, Math.min(left, timerMsMax))
      timer.unref()
    }
    wait()
    return () => clearTimeout(timer)
  },
})

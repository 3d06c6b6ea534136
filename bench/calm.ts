/** When a figure that goes up and down has come to rest. */
export interface Calm {
  /** Readings in a row that have to agree. */
  readonly readings: number
  /** How far apart they may be. */
  readonly spread: number
  /** Readings after which the figure is taken as it is. */
  readonly readingsMax: number
}

/** Reads until so many readings agree. @returns the last one */
export async function calm(
  read: () => number,
  pause: () => Promise<unknown>,
  { readings, spread, readingsMax }: Calm,
): Promise<number> {
  const last: number[] = []
  for (let count = 1; ; count++) {
    const now = read()
    last.push(now)
    if (last.length > readings) last.shift()
    const rests = last.length === readings && Math.max(...last) - Math.min(...last) <= spread
    if (rests || count >= readingsMax) return now
    await pause()
  }
}

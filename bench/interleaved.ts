import type { Settings } from './benchmark.ts'

/** Measured runs of each side, unless told otherwise. */
const runsDefault = { thorough: 7, quick: 2 }

/** One run of one side. */
export interface Sample {
  readonly bytes: number
  readonly seconds: number
  /** User and system, of all processes that took part. */
  readonly cpuSeconds: number
  /** Of the process that got the bytes, or that served them where that is the question. */
  readonly peakBytes?: number
  /** Longest turn of an event loop, of both sides. */
  readonly turnMs?: number
}

/** How often each side runs. */
export function runsOf({ runs, quick }: Settings): number {
  return runs ?? (quick ? runsDefault.quick : runsDefault.thorough)
}

/** One side: runs once. Absent: nothing to compare with here, and its list of samples is empty. */
export type Side = (() => Promise<Sample>) | undefined

/**
 * Runs the sides one after another, again and again: what disturbs the machine disturbs all of them. Each round begins with the next side, because who runs after whom matters too: the
 * memory that one frees is warm for the next. The first round warms up and does not count.
 */
export async function interleaved<N extends string>(
  settings: Settings,
  sides: Readonly<Record<N, Side>>,
): Promise<Readonly<Record<N, readonly Sample[]>>> {
  const names = Object.keys(sides) as N[]
  const samples = Object.fromEntries(names.map((name) => [name, [] as Sample[]])) as Record<
    N,
    Sample[]
  >
  const runs = runsOf(settings)
  for (let round = 0; round <= runs; round += 1) {
    for (const at of names.keys()) {
      const name = names[(at + round) % names.length] as N
      const sample = await sides[name]?.()
      if (round > 0 && sample !== undefined) samples[name].push(sample)
    }
    settings.say(round === 0 ? 'warmed up' : `run ${round} of ${runs}`)
  }
  return samples
}

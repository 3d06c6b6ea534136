import type { Figure, Sample } from './figures.ts'

/** How much a figure may grow between the first and the last quarter after the warm-up: by this share, or by this much, whichever is more. */
const growth: Readonly<Record<Figure, { readonly share: number; readonly least: number }>> = {
  residentBytes: { share: 0.15, least: 48 * 1024 * 1024 },
  heapBytes: { share: 0.1, least: 6 * 1024 * 1024 },
  externalBytes: { share: 0.1, least: 8 * 1024 * 1024 },
  descriptors: { share: 0, least: 10 },
  resources: { share: 0, least: 10 },
}

/** Share of the samples that warms caches and pools up, and is not judged. */
const warmUpShare = 0.25
/** Fewer samples say nothing. */
export const samplesLeast = 16

/** How one figure went. */
export interface Verdict {
  readonly figure: Figure
  /** Medians of the first and of the last quarter. */
  readonly first: number
  readonly last: number
  /** Slope of the straight line with the least squares. */
  readonly perMinute: number
  readonly flat: boolean
}

/** Judges the samples; nothing for too few. */
export function judged(samples: readonly Sample[]): readonly Verdict[] {
  if (samples.length < samplesLeast) return []
  const warm = samples.slice(Math.floor(samples.length * warmUpShare))
  const quarter = Math.floor(warm.length / 4)
  return (Object.keys(growth) as Figure[]).map((figure) => {
    const values = warm.map((sample) => sample[figure])
    const first = median(values.slice(0, quarter))
    const last = median(values.slice(-quarter))
    const { share, least } = growth[figure]
    const perMinute = slope(warm.map((sample) => [sample.minutes, sample[figure]] as const))
    return { figure, first, last, perMinute, flat: last - first <= Math.max(first * share, least) }
  })
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[sorted.length >> 1] ?? 0
}

/** Of the straight line through these points with the least squares. */
export function slope(points: readonly (readonly [number, number])[]): number {
  const meanOf = (pick: (point: readonly [number, number]) => number): number =>
    points.reduce((sum, point) => sum + pick(point), 0) / points.length
  const x = meanOf(([at]) => at)
  const y = meanOf(([, value]) => value)
  let upper = 0
  let lower = 0
  for (const [at, value] of points) {
    upper += (at - x) * (value - y)
    lower += (at - x) ** 2
  }
  return lower === 0 ? 0 : upper / lower
}

import type { Row } from './benchmark.ts'

/** Bytes of a mebibyte. */
export const mebibyte: number = 1024 * 1024
/** Bytes of a gibibyte. */
export const gibibyte: number = 1024 * mebibyte

/** The middle value, or the mean of the two in the middle. NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other)
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? Number.NaN
  return (lower + upper) / 2
}

/** Smallest and largest. */
export function rangeOf(values: readonly number[]): readonly [number, number] {
  return [Math.min(...values), Math.max(...values)]
}

/** What a ratio has to be. */
export type Goal =
  | { readonly is: 'at least'; readonly ratio: number }
  | { readonly is: 'at most'; readonly ratio: number }

/** Two lists of figures that are compared. */
export interface Compared {
  readonly name: string
  readonly unit: string
  readonly ours: readonly number[]
  readonly reference: string
  readonly theirs: readonly number[]
  /** @defaultValue none: the row is only told */
  readonly goal?: Goal
  readonly note?: string
}

/** A row with the medians of both. */
export function compared({ name, unit, ours, reference, theirs, goal, note }: Compared): Row {
  const [value, referenceValue] = [median(ours), median(theirs)]
  const ratio = value / referenceValue
  return {
    name,
    value,
    unit,
    reference,
    referenceValue,
    ratio,
    goal: goal === undefined ? '' : `ratio ${goal.is === 'at least' ? '≥' : '≤'} ${goal.ratio}`,
    holds: goal === undefined || Number.isNaN(ratio) ? undefined : reached(ratio, goal),
    range: rangeOf(ours),
    ...(theirs.length === 0 ? {} : { referenceRange: rangeOf(theirs) }),
    ...(note === undefined ? {} : { note }),
  }
}

/** A figure with a most that it may be. */
export interface Bounded {
  readonly name: string
  readonly unit: string
  /** The largest counts: a bound that holds in most runs does not hold. */
  readonly values: readonly number[]
  readonly max: number
  /** What the bound is. @defaultValue `bound` */
  readonly reference?: string
  readonly note?: string
}

/** A row with the largest value and its bound. */
export function bounded({ name, unit, values, max, reference, note }: Bounded): Row {
  const value = Math.max(...values)
  return {
    name,
    value,
    unit,
    reference: reference ?? 'bound',
    referenceValue: max,
    ratio: value / max,
    goal: `≤ ${Number(max.toFixed(2))} ${unit}`,
    holds: value <= max,
    range: rangeOf(values),
    note: note ?? 'the largest of all runs counts',
  }
}

/** Why a row is not there when `Settings.quick` is set. */
export const notQuick: string = 'not in --quick'

/** A row that stands for what could not be measured, and says why. */
export function notMeasured(row: {
  readonly name: string
  readonly unit: string
  readonly goal?: string
  readonly why: string
}): Row {
  const { name, unit, goal = '', why } = row
  const nothing = { value: Number.NaN, referenceValue: Number.NaN, ratio: Number.NaN }
  return { name, unit, ...nothing, reference: '', goal, holds: undefined, note: why }
}

function reached(ratio: number, goal: Goal): boolean {
  return goal.is === 'at least' ? ratio >= goal.ratio : ratio <= goal.ratio
}

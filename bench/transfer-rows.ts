import type { Row } from './benchmark.ts'
import type { Sample } from './interleaved.ts'
import { bounded, compared, gibibyte, type Goal, mebibyte } from './statistics.ts'

/** Milliseconds that a turn of the event loop may take. */
const turnMsMax = 50

/** Runs of a transfer, ours and a reference's. */
export interface TransferRuns {
  /** What was moved from where to where. */
  readonly name: string
  readonly reference: string
  readonly ours: readonly Sample[]
  readonly theirs: readonly Sample[]
  /** Of the throughput. @defaultValue none */
  readonly goal?: Goal
  /** Of the processor time per byte. @defaultValue none */
  readonly cpuGoal?: Goal
  /** Most resident memory of ours. @defaultValue it is only told */
  readonly peakBytesMax?: number
  readonly note?: string
}

/** Mebibytes per second. */
export function throughput({ bytes, seconds }: Sample): number {
  return bytes / mebibyte / seconds
}

/** Seconds of processor time per gibibyte. */
export function cpuPerGibibyte({ bytes, cpuSeconds }: Sample): number {
  return cpuSeconds / (bytes / gibibyte)
}

/** The rows of a transfer: throughput, processor time, and, where measured, resident memory and turns of the event loop. */
export function transferRows(runs: TransferRuns): Row[] {
  const { name, reference, ours, theirs, goal, cpuGoal, note } = runs
  const rows = [
    compared({
      name,
      unit: 'MiB/s',
      reference,
      ours: ours.map(throughput),
      theirs: theirs.map(throughput),
      ...(goal === undefined ? {} : { goal }),
      ...(note === undefined ? {} : { note }),
    }),
    compared({
      name: `${name}: processor`,
      unit: 'CPU s/GiB',
      reference,
      ours: ours.map(cpuPerGibibyte),
      theirs: theirs.map(cpuPerGibibyte),
      ...(cpuGoal === undefined ? {} : { goal: cpuGoal }),
      note: 'user and system, all processes',
    }),
  ]
  const peaks = mebibytes(ours)
  if (peaks.length > 0) rows.push(peakRow(runs, peaks))
  const turns = ours.flatMap(({ turnMs }) => (turnMs === undefined ? [] : [turnMs]))
  if (turns.length > 0) {
    const turn = `${name}: longest turn`
    rows.push(bounded({ name: turn, unit: 'ms', values: turns, max: turnMsMax }))
  }
  return rows
}

function peakRow(
  { name: of, reference, theirs, peakBytesMax }: TransferRuns,
  peaks: readonly number[],
): Row {
  const name = `${of}: peak resident`
  const unit = 'MiB'
  if (peakBytesMax === undefined) {
    return compared({ name, unit, ours: peaks, reference, theirs: mebibytes(theirs) })
  }
  return bounded({ name, unit, values: peaks, max: peakBytesMax / mebibyte })
}

function mebibytes(samples: readonly Sample[]): number[] {
  return samples.flatMap(({ peakBytes }) => (peakBytes === undefined ? [] : [peakBytes / mebibyte]))
}

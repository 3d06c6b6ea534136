import type { Row } from './benchmark.ts'

const heads = ['what', 'ours', 'reference', '', 'ratio', 'goal', '']

/** The rows as a table for a terminal, with what there is to say about a row below it. */
export function table(rows: readonly Row[]): string {
  const cells = rows.map(cellsOf)
  const widths = heads.map((head, at) =>
    Math.max(...[heads, ...cells].map((line) => (line[at] ?? head).length)),
  )
  const line = (each: readonly string[]): string =>
    each
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd()
  return [line(heads), ...cells.map(line)].join('\n')
}

function cellsOf(row: Row): string[] {
  const { name, value, unit, reference, referenceValue, ratio, goal } = row
  return [
    name,
    `${shown(value)}${rangeShown(row.range)} ${unit}`.replace(/^- .*/, '-'),
    `${shown(referenceValue)}${rangeShown(row.referenceRange)}`,
    reference,
    shown(ratio),
    goal,
    verdict(row),
  ]
}

function verdict({ value, ratio, goal, holds, note = '' }: Row): string {
  if (Number.isNaN(value)) return `not measured: ${note}`
  if (goal !== '' && Number.isNaN(ratio)) return note
  if (holds === undefined) return ''
  return holds ? 'holds' : 'NOT REACHED'
}

/** Three digits that count. */
export function shown(value: number): string {
  if (Number.isNaN(value)) return '-'
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toFixed(digits)
}

function rangeShown(range: readonly [number, number] | undefined): string {
  return range === undefined || range[0] === range[1]
    ? ''
    : ` (${shown(range[0])} to ${shown(range[1])})`
}

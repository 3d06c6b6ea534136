import type { Row } from './benchmark.ts'

/** Rows as a text of JSON. What there is no value for (no reference here, no goal) is null. */
export function rowsAsJson(rows: readonly Row[]): string {
  const whole = rows.map((row) => ({ ...row, holds: row.holds ?? null }))
  return `${JSON.stringify(whole, undefined, 2)}\n`
}

/** The opposite. @throws SyntaxError, TypeError for anything else */
export function rowsOfJson(text: string): Row[] {
  const list: unknown = JSON.parse(text)
  if (!Array.isArray(list)) throw new TypeError('A list of rows was expected')
  return (list as readonly Record<keyof Row, unknown>[]).map((each) => {
    if (typeof each.name !== 'string' || typeof each.unit !== 'string') {
      throw new TypeError('A row has a name and a unit')
    }
    return {
      ...(each as unknown as Row),
      value: figure(each.value),
      referenceValue: figure(each.referenceValue),
      ratio: figure(each.ratio),
      holds: typeof each.holds === 'boolean' ? each.holds : undefined,
    }
  })
}

function figure(value: unknown): number {
  return typeof value === 'number' ? value : Number.NaN
}

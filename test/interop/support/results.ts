import { existsSync, readFileSync } from 'node:fs'
import type { CaseResult } from './matrix.ts'

/** The lines that the cases of a run wrote. */
export function readResults(path: string): CaseResult[] {
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'utf8').split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as CaseResult)
}

/** A table in Markdown, in the order of the rows. */
export function resultsTable(results: readonly CaseResult[]): string {
  const rows = results
    .toSorted((one, other) => one.row - other.row)
    .map((each) => [
      String(each.row),
      each.case,
      each.result,
      `${(each.tookMs / 1000).toFixed(2)} s`,
      each.originRequests === undefined ? '-' : String(each.originRequests),
      each.originBytes === undefined ? '-' : String(each.originBytes),
      each.traffic,
    ])
  const head = ['row', 'case', 'result', 'took', 'origin requests', 'origin bytes', 'traffic']
  return [head, head.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}

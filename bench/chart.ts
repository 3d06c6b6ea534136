/**
 * Draws the chart of the README from what `run.js --json` wrote.
 *
 *   node build/bench/chart.js [--json bench/results.json] [--svg docs/speed.svg]
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { panels, svg } from './bars.ts'
import { rowsOfJson } from './json.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'string', default: 'bench/results.json' },
    svg: { type: 'string', default: 'docs/speed.svg' },
  },
})

const drawn = panels(rowsOfJson(readFileSync(values.json, 'utf8')))
if (drawn.length === 0) throw new Error(`${values.json} has none of the rows that are drawn`)
const about = 'Medians with the smallest and largest run. All runs in turn on one machine.'
writeFileSync(values.svg, svg(drawn, about))

import type { Row } from './benchmark.ts'
import { shown } from './table.ts'

/** A bar of the chart. */
export interface Bar {
  readonly label: string
  readonly value: number
  readonly range: readonly [number, number]
  readonly isOurs: boolean
}

/** Bars of one job in one unit. */
export interface Panel {
  readonly title: string
  readonly unit: string
  readonly better: string
  readonly bars: readonly Bar[]
}

/** What the chart shows: names of rows up to the unit, with how the reference is called there. */
const jobs: readonly {
  readonly title: string
  readonly rows: readonly (readonly [string, string])[]
}[] = [
  {
    title: 'From one parent to a file',
    rows: [
      ['one parent to a file, beside C', 'C: sendfile, recv, crc32, pwrite'],
      ['one parent to a file, beside dfdaemon + dfget', 'dfdaemon + dfget'],
      ['one parent to a file, beside webtorrent', 'webtorrent'],
    ],
  },
  {
    title: 'From an HTTP origin to memory',
    rows: [['origin to memory', 'fetch().arrayBuffer()']],
  },
]

const units = [
  { suffix: '', unit: 'MiB/s', what: 'throughput', better: 'more is better' },
  { suffix: ': processor', unit: 'CPU s/GiB', what: 'processor time', better: 'less is better' },
]

/** The bars that the rows have figures for, job by job. A job without a row has no panel. */
export function panels(rows: readonly Row[]): Panel[] {
  return jobs.flatMap((job) =>
    units.flatMap(({ suffix, unit, what, better }) => {
      const found = job.rows.flatMap(([name, label]) => {
        const row = rows.find((each) => each.name === name + suffix && each.unit === unit)
        return row === undefined ? [] : [{ row, label }]
      })
      const [first] = found
      if (first === undefined) return []
      const bars = [
        bar('dragonfly-peer', first.row.value, first.row.range, true),
        ...found.map(({ row, label }) => bar(label, row.referenceValue, row.referenceRange, false)),
      ].filter(({ value }) => Number.isFinite(value))
      return [{ title: `${job.title}: ${what}`, unit, better, bars }]
    }),
  )
}

function bar(
  label: string,
  value: number,
  range: readonly [number, number] | undefined,
  isOurs: boolean,
): Bar {
  return { label, value, range: range ?? [value, value], isOurs }
}

const width = 720
const [labelWidth, valueWidth] = [230, 90]
const [barHeight, barGap, panelGap, titleHeight] = [18, 8, 22, 26]

/** The panels one below the other, as SVG that is readable on light and on dark ground. @param about - what machine and when, for the line below */
export function svg(all: readonly Panel[], about: string): string {
  const parts: string[] = []
  let y = 8
  for (const panel of all) {
    parts.push(text(0, y + 14, `${panel.title}, ${panel.unit}; ${panel.better}`, 'title'))
    y += titleHeight
    const most = Math.max(...panel.bars.map(({ range }) => range[1]))
    const scale = (width - labelWidth - valueWidth) / most
    for (const each of panel.bars) {
      parts.push(...barParts(each, y, scale))
      y += barHeight + barGap
    }
    y += panelGap - barGap
  }
  parts.push(text(0, y + 8, about, 'note'))
  const height = y + 16
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${escaped(all.map(({ title }) => title).join(', '))}</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.note { font-size: 11px; fill: #57606a }
.ours { fill: #0969da }
.other { fill: #afb8c1 }
.range { stroke: #24292f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.note { fill: #9198a1 }
.ours { fill: #4493f8 }
.other { fill: #656c76 }
.range { stroke: #e6edf3 }
}
</style>
${parts.join('\n')}
</svg>
`
}

function barParts({ label, value, range, isOurs }: Bar, y: number, scale: number): string[] {
  const at = (figure: number): string => (labelWidth + figure * scale).toFixed(1)
  const middle = y + barHeight / 2
  const [from, to] = range
  return [
    text(labelWidth - 8, middle + 4, label, 'label', 'end'),
    `<rect class="${isOurs ? 'ours' : 'other'}" x="${labelWidth}" y="${y}" width="${(value * scale).toFixed(1)}" height="${barHeight}" rx="2"/>`,
    `<line class="range" x1="${at(from)}" x2="${at(to)}" y1="${middle}" y2="${middle}"/>`,
    text(Number(at(to)) + 8, middle + 4, shown(value), 'value'),
  ]
}

function text(x: number, y: number, words: string, kind: string, anchor = 'start'): string {
  return `<text class="${kind}" x="${x.toFixed(1)}" y="${y}" text-anchor="${anchor}">${escaped(words)}</text>`
}

function escaped(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

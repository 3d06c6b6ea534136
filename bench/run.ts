/**
 * All benchmarks, each beside its reference, and the goals of the project.
 *
 *   npm run bench -- [--quick] [--only NAME]… [--runs N] [--bytes N] [--folder PATH] [--json FILE] [--strict] [--list]
 *
 * `--only` can be repeated, or take names with commas between them. `--folder` is where files are written, a new folder below it (the folder for temporary files).
 * Prints a table; `--json` writes the same as a list of `Row`. The exit code is 0 when everything ran, whatever was measured; with `--strict` only
 * when every goal is reached. Linux only.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Benchmark, Row, Settings } from './benchmark.ts'
import { fanOut } from './fan-out.ts'
import { rowsAsJson } from './json.ts'
import { memory } from './memory.ts'
import { originFile, originMemory } from './origin.ts'
import { originShare } from './origin-share.ts'
import { programs } from './programs.ts'
import { rdmaSoftware } from './rdma.ts'
import { serving } from './serving.ts'
import { silentParent } from './silent-parent.ts'
import { small } from './small.ts'
import { table } from './table.ts'
import { heldMemory, oneParentFile, oneParentMemory, threeParentsFile } from './transfers.ts'

/** In the order of the table. */
const benchmarks: readonly Benchmark[] = [
  oneParentFile,
  oneParentMemory,
  threeParentsFile,
  heldMemory,
  originFile,
  originMemory,
  serving,
  programs,
  memory,
  silentParent,
  originShare,
  fanOut,
  small,
  rdmaSoftware,
]

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    runs: { type: 'string' },
    bytes: { type: 'string' },
    folder: { type: 'string', default: tmpdir() },
    json: { type: 'string' },
    strict: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
})

if (values.list) for (const { name, about } of benchmarks) console.log(`${name}: ${about}`)
else await main(chosen(values.only.flatMap((names) => names.split(','))))

async function main(wanted: readonly Benchmark[]): Promise<void> {
  const folder = mkdtempSync(join(values.folder, 'dragonfly-peer-bench-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  const rows: Row[] = []
  const failed: string[] = []
  for (const benchmark of wanted) {
    try {
      rows.push(...(await benchmark.run(settings(benchmark.name, folder))))
    } catch (error) {
      failed.push(benchmark.name)
      console.error(`${benchmark.name} could not run:`, error)
    }
    // After each, so that what was measured is not lost when the run is ended early.
    if (values.json !== undefined) writeFileSync(values.json, rowsAsJson(rows))
  }
  console.log(table(rows))
  for (const { name, note, holds } of rows) {
    if (holds === false && note !== undefined) console.log(`${name}: ${note}`)
  }
  if (failed.length > 0) console.log(`Could not run: ${failed.join(', ')}`)
  const missed = values.strict && rows.some(({ holds }) => holds === false)
  process.exitCode = failed.length > 0 || missed ? 1 : 0
}

function settings(name: string, folder: string): Settings {
  const { quick, runs, bytes } = values
  const begun = performance.now()
  return {
    quick,
    folder,
    say: (line) => {
      const seconds = ((performance.now() - begun) / 1000).toFixed(1)
      process.stderr.write(`${name} ${seconds} s: ${line}\n`)
    },
    ...(runs === undefined ? {} : { runs: Number(runs) }),
    ...(bytes === undefined ? {} : { bytes: Number(bytes) }),
  }
}

function chosen(names: readonly string[]): readonly Benchmark[] {
  const unknown = names.filter((name) => !benchmarks.some((each) => each.name === name))
  if (unknown.length > 0) throw new RangeError(`There is no benchmark ${unknown.join(', ')}`)
  return names.length === 0 ? benchmarks : benchmarks.filter(({ name }) => names.includes(name))
}

/** All benchmarks, each beside its reference, and the goals of the project. `--help` says how it is used. Linux only. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Benchmark, Row, Settings } from './benchmark.ts'
import { fanOut8, fanOut16, fanOut64 } from './fan-out.ts'
import { rowsAsJson } from './json.ts'
import { memory } from './memory.ts'
import { originFile, originMemory } from './origin.ts'
import { originShare } from './origin-share.ts'
import { programs } from './programs.ts'
import { rdmaSoftware } from './rdma.ts'
import { serving } from './serving.ts'
import { silentParent } from './silent-parent.ts'
import { small } from './small.ts'
import { notMeasured, notQuick } from './statistics.ts'
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
  small,
  fanOut8,
  fanOut16,
  fanOut64,
  rdmaSoftware,
]

/** Milliseconds after which a benchmark has to have ended. */
const msMax = { quick: 20_000, thorough: 900_000 } as const
/** Milliseconds after which a quick run begins no other benchmark. */
const quickBeginMsMax = 45_000

const help = `npm run bench -- [options]

Measures every goal of the project beside a reference that runs in turn with it, and prints a table. Takes about half an hour on a quiet machine with two cores.
DRAGONFLY_BIN names the folder of the real Dragonfly programs; without it what needs them is a row that says so.

  --quick        within a minute: fewer runs, smaller inputs, and what cannot be that short is a row that says "not in --quick"
  --only NAME    this benchmark alone, or all whose names begin with NAME-; can be repeated, or take names with commas between them
  --runs N       measured runs of each side (7; quick: 2)
  --bytes N      bytes of the content that is moved
  --folder PATH  where files are written, in a new folder that is removed (the folder for temporary files)
  --json FILE    writes the rows as a list of objects too, after each benchmark
  --strict       exits with 0 only when every goal that was measured is reached, not whenever everything ran
  --list         the benchmarks
  --help         this`

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
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

if (values.help) console.log(help)
else if (values.list) for (const { name, about } of benchmarks) console.log(`${name}: ${about}`)
else await main(chosen(values.only.flatMap((names) => names.split(','))))

async function main(wanted: readonly Benchmark[]): Promise<void> {
  const folder = mkdtempSync(join(values.folder, 'dragonfly-peer-bench-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  const rows: Row[] = []
  const failed: string[] = []
  const seconds: string[] = []
  const begun = performance.now()
  for (const benchmark of wanted) {
    const { name, about } = benchmark
    const at = performance.now()
    const late = values.quick && at - begun > quickBeginMsMax
    try {
      if (late)
        rows.push(notMeasured({ name: about, unit: '', why: `${notQuick}: the time is over` }))
      else rows.push(...(await inTime(benchmark, folder)))
    } catch (error) {
      failed.push(name)
      const why = error instanceof Error ? error.message : String(error)
      rows.push(notMeasured({ name: about, unit: '', why: why.split('\n', 1).join('') }))
      console.error(`${name} could not run:`, error)
    }
    if (!late) seconds.push(`${name} ${((performance.now() - at) / 1000).toFixed(0)}`)
    // After each, so that what was measured is not lost when the run is ended early.
    if (values.json !== undefined) writeFileSync(values.json, rowsAsJson(rows))
  }
  console.log(table(rows))
  if (values.quick)
    console.log('Quick: inputs so small that beginnings count. Goals are for runs without --quick.')
  for (const { name, note, holds } of rows) {
    if (holds === false && note !== undefined) console.log(`${name}: ${note}`)
  }
  console.log(`Seconds: ${seconds.join(', ')}`)
  if (failed.length > 0) console.log(`Could not run: ${failed.join(', ')}`)
  const missed = values.strict && rows.some(({ holds }) => holds === false)
  // A benchmark that did not end would keep the process.
  process.exit(failed.length > 0 || missed ? 1 : 0)
}

/** Runs one, unless it takes so long that it hangs. */
async function inTime(benchmark: Benchmark, folder: string): Promise<readonly Row[]> {
  const limitMs = values.quick ? msMax.quick : msMax.thorough
  const over = new AbortController()
  const hangs = setTimeout(limitMs, undefined, { signal: over.signal }).then(() => {
    throw new Error(`It did not end within ${limitMs / 1000} s`)
  })
  // Only the one that comes first counts.
  hangs.catch(() => undefined)
  try {
    return await Promise.race([benchmark.run(settings(benchmark.name, folder)), hangs])
  } finally {
    over.abort()
  }
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

/** A name stands for the benchmark that is called so, or for all whose names begin so: `fan-out` is all three of them. */
function chosen(names: readonly string[]): readonly Benchmark[] {
  const means = (wanted: string, { name }: Benchmark): boolean =>
    name === wanted || name.startsWith(`${wanted}-`)
  const unknown = names.filter((name) => !benchmarks.some((each) => means(name, each)))
  if (unknown.length > 0) throw new RangeError(`There is no benchmark ${unknown.join(', ')}`)
  if (names.length === 0) return benchmarks
  return benchmarks.filter((each) => names.some((name) => means(name, each)))
}

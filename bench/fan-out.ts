import { whyNot } from '../test/interop/support/binaries.ts'
import { SchedulerProgram } from '../test/interop/support/scheduler-program.ts'
import type { Benchmark, Row, Settings } from './benchmark.ts'
import { Endings } from './endings.ts'
import { boundOf, type FanOutOptions, type FanOutResult, runFanOut } from './fan-out-swarm.ts'
import { compared, median, notMeasured, notQuick, rangeOf } from './statistics.ts'

/** How many, and at which speed: all uplinks together stay far below what two cores can move. */
interface Size {
  readonly peers: number
  readonly pieces: number
  readonly bytesPerSecond: number
  /** When upstream's rule runs beside ours: with 64 peers a run of it takes a minute and a half. */
  readonly upstream: 'always' | 'together' | 'never'
  /** Highest ratio that is good. */
  readonly ratioMax: number
}

const sizes = {
  8: { peers: 8, pieces: 32, bytesPerSecond: 20e6, upstream: 'always', ratioMax: 1.25 },
  16: { peers: 16, pieces: 32, bytesPerSecond: 12e6, upstream: 'always', ratioMax: 1.4 },
  64: { peers: 64, pieces: 20, bytesPerSecond: 4e6, upstream: 'together', ratioMax: 1.4 },
} as const satisfies Record<number, Size>
const quick: Size = { ...sizes[8], pieces: 12, upstream: 'never' }

/** The last start follows the first after this many rounds, when peers start one after another. */
const spreadRounds = 8

/** Origin bytes, against the content. */
const originMax = 1.05

/** How soon the last of eight peers is done. */
export const fanOut8: Benchmark = benchmark(sizes[8])
/** How soon the last of sixteen peers is done. */
export const fanOut16: Benchmark = benchmark(sizes[16])
/** How soon the last of sixty-four peers is done. */
export const fanOut64: Benchmark = benchmark(sizes[64])

function benchmark(size: Size): Benchmark {
  const { peers } = size
  return {
    name: `fan-out-${peers}`,
    about: `how soon the last of ${peers} peers with equal uplinks has what all of them want`,
    run: async (settings) => (settings.quick ? fewRows(settings, size) : allRows(settings, size)),
  }
}

async function allRows(settings: Settings, size: Size): Promise<readonly Row[]> {
  const rows = await both(settings, size, 'embedded scheduler', undefined)
  const real = 'real scheduler'
  const why = whyNot()
  if (why === undefined) return [...rows, ...(await withRealScheduler(settings, size, real))]
  return [
    ...rows,
    ...[0, spreadRounds].map((spread) => none(size, nameOf(size, real, spread), why)),
  ]
}

/** A quick run has only the smallest size, all peers together, with the embedded scheduler. */
async function fewRows(settings: Settings, size: Size): Promise<readonly Row[]> {
  if (size !== sizes[8]) return [none(size, `fan-out to ${size.peers} peers`, notQuick)]
  return both(settings, quick, 'embedded scheduler', undefined)
}

function none({ ratioMax }: Size, name: string, why: string): Row {
  return notMeasured({ name, unit: 'rounds', goal: `ratio ≤ ${ratioMax}`, why })
}

function nameOf({ peers }: Size, who: string, spread: number): string {
  const how = spread === 0 ? 'together' : 'one after another'
  return `fan-out to ${peers} peers, ${who}, ${how}`
}

/** The real scheduler forbids circles, and names three random ones of those that are left. */
async function withRealScheduler(
  settings: Settings,
  size: Size,
  who: string,
): Promise<readonly Row[]> {
  await using endings = new Endings()
  const { address, program } = await SchedulerProgram.start(endings)
  endings.after(async () => void (await program.kill()))
  return await both(settings, size, who, address)
}

async function both(
  settings: Settings,
  size: Size,
  who: string,
  scheduler: string | undefined,
): Promise<readonly Row[]> {
  const rows: Row[] = []
  for (const spread of settings.quick ? [0] : [0, spreadRounds]) {
    const { peers, pieces, bytesPerSecond } = size
    const common = { peers, pieces, bytesPerSecond, spreadRounds: spread }
    const options = scheduler === undefined ? common : { ...common, scheduler }
    const rules = withUpstream(size, spread) ? (['ours', 'upstream'] as const) : (['ours'] as const)
    const results = await inTurn(settings, options, rules)
    rows.push(...rowsOf(size, nameOf(size, who, spread), results))
  }
  return rows
}

interface Results {
  readonly ours: readonly FanOutResult[]
  readonly upstream: readonly FanOutResult[]
}

function withUpstream({ upstream }: Size, spread: number): boolean {
  return upstream === 'always' || (upstream === 'together' && spread === 0)
}

/** The rules in turn: what disturbs the machine disturbs both. One run of each, unless `--runs` says otherwise: a run is a minute. */
async function inTurn(
  { say, runs = 1 }: Settings,
  options: Omit<FanOutOptions, 'rule'>,
  rules: readonly FanOutOptions['rule'][],
): Promise<Results> {
  const ours: FanOutResult[] = []
  const upstream: FanOutResult[] = []
  for (let run = 1; run <= runs; run++) {
    for (const rule of rules) {
      const result = await runFanOut({ ...options, rule })
      const { rounds, middle, busy } = result
      if (rule === 'ours') ours.push(result)
      else upstream.push(result)
      const share = `${Math.round(busy * 100)} % of the processors`
      say(
        `${options.peers} peers, ${rule}, run ${run} of ${runs}: ${rounds.toFixed(1)} rounds, the middle one ${middle.toFixed(1)}, ${share}`,
      )
    }
  }
  return { ours, upstream }
}

function rowsOf(size: Size, name: string, { ours, upstream }: Results): readonly Row[] {
  const bound = boundOf(size)
  const value = median(ours.map(({ rounds }) => rounds))
  const range = rangeOf(ours.map(({ rounds }) => rounds))
  const origin = Math.max(...ours.map((one) => one.origin))
  const busy = median(ours.map((one) => one.busy))
  return [
    {
      name,
      value,
      unit: 'rounds',
      reference: 'B + ⌊log₂N⌋',
      referenceValue: bound,
      ratio: value / bound,
      goal: `ratio ≤ ${size.ratioMax}`,
      holds: value / bound <= size.ratioMax,
      range,
      note: `${size.pieces} pieces of 4 MiB, ${size.bytesPerSecond / 1e6} MB/s for each uplink; the peers used ${Math.round(busy * 100)} % of the processors`,
    },
    ...upstreamRows(name, ours, upstream),
    {
      name: `${name}: origin bytes`,
      value: origin,
      unit: 'contents',
      reference: 'the content',
      referenceValue: 1,
      ratio: origin,
      goal: `ratio ≤ ${originMax}`,
      holds: origin <= originMax,
    },
  ]
}

function upstreamRows(
  name: string,
  ours: readonly FanOutResult[],
  upstream: readonly FanOutResult[],
): Row[] {
  if (upstream.length === 0) return []
  return [
    compared({
      name,
      unit: 'rounds',
      ours: ours.map(({ rounds }) => rounds),
      reference: "upstream's rule",
      theirs: upstream.map(({ rounds }) => rounds),
      note: 'a random piece of a random parent, all uploads at once; the same engine otherwise',
    }),
  ]
}

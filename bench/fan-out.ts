import { whyNot } from '../test/interop/support/binaries.ts'
import { SchedulerProgram } from '../test/interop/support/scheduler-program.ts'
import type { Benchmark, Row, Settings } from './benchmark.ts'
import { boundOf, type FanOutOptions, type FanOutResult, runFanOut } from './fan-out-swarm.ts'
import { median, rangeOf } from './statistics.ts'

/** How many, and at which speed: all uplinks together stay far below what two cores can move. */
interface Size {
  readonly peers: number
  readonly pieces: number
  readonly bytesPerSecond: number
  /** Runs of each rule, one after another in turn. */
  readonly runs: number
  /** Highest ratio that is good. */
  readonly ratioMax: number
}

const thorough: readonly Size[] = [
  { peers: 8, pieces: 32, bytesPerSecond: 10e6, runs: 3, ratioMax: 1.25 },
  { peers: 16, pieces: 32, bytesPerSecond: 5e6, runs: 2, ratioMax: 1.4 },
  { peers: 64, pieces: 32, bytesPerSecond: 4e6, runs: 1, ratioMax: 1.4 },
]
const quick: readonly Size[] = [
  { peers: 8, pieces: 16, bytesPerSecond: 20e6, runs: 1, ratioMax: 1.25 },
]

/** The last start follows the first after this many rounds, when peers start one after another. */
const spreadRounds = 8

/** Origin bytes, against the content. */
const originMax = 1.05

/** How soon the last of N peers is done. */
export const fanOut: Benchmark = {
  name: 'fan-out',
  about: 'how soon the last of N peers with equal uplinks has what all of them want',
  async run(settings) {
    const rows: Row[] = []
    for (const size of settings.quick ? quick : thorough) {
      rows.push(...(await both(settings, size, 'embedded scheduler', undefined)))
      if (settings.quick || whyNot() !== undefined) continue
      rows.push(...(await withRealScheduler(settings, size)))
    }
    return rows
  },
}

/** The real scheduler forbids circles, and names three random ones of those that are left. */
async function withRealScheduler(settings: Settings, size: Size): Promise<readonly Row[]> {
  const releases: (() => Promise<void> | void)[] = []
  try {
    const { address } = await SchedulerProgram.start({ after: (release) => releases.push(release) })
    return await both(settings, size, 'real scheduler', address)
  } finally {
    for (const release of releases) await release()
  }
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
    const results = await inTurn(settings, options, size.runs)
    rows.push(
      ...rowsOf(size, `${who}, ${spread === 0 ? 'together' : 'one after another'}`, results),
    )
  }
  return rows
}

interface Results {
  readonly ours: readonly FanOutResult[]
  readonly upstream: readonly FanOutResult[]
}

/** Both rules in turn: what disturbs the machine disturbs both. */
async function inTurn(
  { say }: Settings,
  options: Omit<FanOutOptions, 'rule'>,
  runs: number,
): Promise<Results> {
  const ours: FanOutResult[] = []
  const upstream: FanOutResult[] = []
  for (let run = 1; run <= runs; run++) {
    for (const [rule, results] of [
      ['ours', ours],
      ['upstream', upstream],
    ] as const) {
      const result = await runFanOut({ ...options, rule })
      results.push(result)
      say(
        `${options.peers} peers, ${rule}, run ${run} of ${runs}: ${result.rounds.toFixed(1)} rounds`,
      )
    }
  }
  return { ours, upstream }
}

function rowsOf(size: Size, how: string, { ours, upstream }: Results): readonly Row[] {
  const name = `fan-out to ${size.peers} peers, ${how}`
  const bound = boundOf(size)
  const [value, other] = [ours, upstream].map((results) => median(results.map((one) => one.rounds)))
  if (value === undefined || other === undefined) return []
  const range = rangeOf(ours.map(({ rounds }) => rounds))
  const origin = Math.max(...ours.map((one) => one.origin))
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
      note: `${size.pieces} pieces of 4 MiB, ${size.bytesPerSecond / 1e6} MB/s for each uplink`,
    },
    {
      name,
      value,
      unit: 'rounds',
      reference: "upstream's rule",
      referenceValue: other,
      ratio: value / other,
      goal: '',
      holds: undefined,
      range,
      referenceRange: rangeOf(upstream.map(({ rounds }) => rounds)),
      note: 'a random piece of a random parent, all uploads at once; the same engine otherwise',
    },
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

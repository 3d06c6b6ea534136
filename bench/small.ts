/** What a task of a byte to a mebibyte costs, and whether many of them leave something behind. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Benchmark, Row, Settings } from './benchmark.ts'
import { SmallOrigin } from './small-origin.ts'
import type { Answer, Way } from './small-peer.ts'
import { SmallProcess } from './small-process.ts'
import { notMeasured, notQuick } from './statistics.ts'

const mebibyte = 1024 * 1024
const lengths = [1, 4096, 65_536, mebibyte] as const
/** Milliseconds that the project promises. */
const goals = { median: 10, worst: 50 } as const
/** Tasks before which nothing is measured: code is compiled, connections are opened. */
const warmUp = { full: 400, quick: 60 } as const

/** Small tasks, one after another and many at once. */
export const small: Benchmark = {
  name: 'small',
  about: 'Tasks of 1 B to 1 MiB on a warm peer: latency, and what 10 000 of them leave behind',
  async run(settings) {
    const world = new World(settings)
    try {
      await world.start()
      return [...(await far(world)), ...(await own(world)), ...(await many(world))]
    } finally {
      await world.end()
    }
  },
}

/** Processes, folders and the origin. */
class World {
  readonly settings: Settings
  readonly origin = new SmallOrigin()
  readonly #processes: SmallProcess[] = []
  #folders = 0

  constructor(settings: Settings) {
    this.settings = settings
  }

  async start(): Promise<void> {
    await this.origin.listen()
  }

  /** A peer with a disk store. Without an address it has the scheduler. */
  async peer(scheduler?: string): Promise<SmallProcess> {
    const store = { dir: this.folder() }
    const made = await SmallProcess.start(
      scheduler === undefined ? { store } : { store, scheduler },
    )
    this.#processes.push(made)
    return made
  }

  folder(): string {
    const path = join(this.settings.folder, `small-${this.#folders++}`)
    mkdirSync(path)
    return path
  }

  /** `quick` or not. */
  count(full: number, quick: number): number {
    return this.settings.quick ? quick : full
  }

  async end(): Promise<void> {
    for (const each of this.#processes) each.kill()
    await this.origin.close()
  }
}

interface Case {
  readonly name: string
  readonly child: SmallProcess
  /** Keeps the tasks beforehand. Without one they come from the origin. */
  readonly holder?: SmallProcess
  readonly way: Way
  readonly backToSource: 'allow' | 'never'
}

/** The usual place of the scheduler: in another process. */
async function far(world: World): Promise<Row[]> {
  const holder = await world.peer()
  const child = await world.peer(holder.scheduler)
  const rows: Row[] = []
  const never = 'never'
  await latency(world, { name: 'warm up', child, holder, way: 'bytes', backToSource: never })
  for (const way of ['bytes', 'file'] as const) {
    const name = `from a peer ${into[way]}`
    rows.push(...(await latency(world, { name, child, holder, way, backToSource: never })))
  }
  const named = 'from a peer into memory, the origin asked first'
  const asked = { child, holder, way: 'bytes', backToSource: 'allow' } as const
  rows.push(...(await latency(world, { name: named, ...asked })))
  const origin = { child, way: 'file', backToSource: 'allow' } as const
  rows.push(...(await latency(world, { name: 'from the origin into a file', ...origin })))
  const here = { child, holder: child, way: 'file', backToSource: never } as const
  rows.push(...(await latency(world, { name: 'kept here, into a file', ...here })))
  await child.close()
  await holder.close()
  return rows
}

async function own(world: World): Promise<Row[]> {
  if (world.settings.quick) {
    const name = 'small: from a peer into memory, own scheduler'
    return [notMeasured({ name, unit: 'ms', why: notQuick })]
  }
  const child = await world.peer()
  const holder = await world.peer(child.scheduler)
  const one = { child, holder, way: 'bytes', backToSource: 'never' } as const
  await latency(world, { name: 'warm up', ...one })
  const rows = await latency(world, { name: 'from a peer into memory, own scheduler', ...one })
  await child.close()
  await holder.close()
  return rows
}

const into: Readonly<Record<Way, string>> = {
  bytes: 'into memory',
  file: 'into a file',
  store: 'into the store',
}

async function latency(world: World, one: Case): Promise<Row[]> {
  const { name, child, holder, way, backToSource } = one
  const skipped = name === 'warm up' ? 0 : 8
  const count = name === 'warm up' ? world.count(warmUp.full, warmUp.quick) : world.count(400, 48)
  const urls = world.origin.urls(name.replace(/\W+/g, '-'), count, lengths)
  await holder?.ask(keep(urls))
  const order = { is: 'fetch', urls, way, atOnce: 1, backToSource } as const
  const { latencies } = await child.ask({ ...order, folder: world.folder() })
  const measured = latencies.slice(skipped)
  const ofLength = lengths.map((length, at) => {
    const part = measured.filter((_, number) => number % lengths.length === at)
    return `${length} B ${quantile(part, 0.5).toFixed(1)}`
  })
  const note = `p50 by length: ${ofLength.join(', ')} ms`
  return [
    bounded(`small: ${name}, p50`, quantile(measured, 0.5), 'ms', goals.median, note),
    bounded(`small: ${name}, p99`, quantile(measured, 0.99), 'ms', goals.worst),
  ]
}

/** 10 000 one after another, then 200 at once, over and over. */
async function many(world: World): Promise<Row[]> {
  if (world.settings.quick) {
    const name = 'small: what 10 000 one after another and 200 at once leave behind'
    return [notMeasured({ name, unit: '', why: notQuick })]
  }
  const holder = await world.peer()
  const child = await world.peer(holder.scheduler)
  const part = 1000
  const parts = 10
  const say = (what: string): void => world.settings.say(`small: ${what}`)
  const answers: Answer[] = []
  const medians: number[] = []
  const cpuMs: number[] = []
  // The first part warms up.
  for (let number = 0; number <= parts; number++) {
    say(`part ${number} of ${parts}, ${part} tasks each`)
    const urls = world.origin.urls(`many-${number}`, part, [1, 4096])
    await holder.ask(keep(urls))
    const { cpuSeconds: cpuBefore } = await child.ask({ is: 'measure' })
    const { latencies, cpuSeconds } = await child.ask(taking(urls, 1))
    medians.push(quantile(latencies, 0.5))
    cpuMs.push(((cpuSeconds - cpuBefore) * 1000) / part)
    answers.push(await child.ask({ is: 'measure' }))
  }
  const [, before, after] = [answers[0], answers[1], answers.at(-1)]
  const rows = [
    lastAgainstFirst(`small: p50 of the last ${part} of ${part * parts}`, medians, 'ms'),
    // A busy machine has little to do with it.
    lastAgainstFirst(`small: processor time of the last ${part}`, cpuMs, 'ms a task'),
    growth(`small: heap after ${part * (parts - 1)} more`, before, after, 'heapBytes', 8),
    growth(
      `small: resident memory after ${part * (parts - 1)} more`,
      before,
      after,
      'residentBytes',
      32,
    ),
    bounded(
      `small: descriptors after ${part * (parts - 1)} more`,
      (after?.descriptors ?? 0) - (before?.descriptors ?? 0),
      'descriptors',
      16,
    ),
  ]
  rows.push(
    told('small: processor time of a task in the peer that fetches', quantile(cpuMs, 0.5), 'ms'),
  )
  rows.push(...(await atOnce(world, holder, child)))
  rows.push(...(await held(holder)))
  await child.close()
  await holder.close()
  return rows
}

async function atOnce(world: World, holder: SmallProcess, child: SmallProcess): Promise<Row[]> {
  const rounds = 10
  const times: number[] = []
  const answers: Answer[] = []
  for (let round = 0; round < rounds; round++) {
    const urls = world.origin.urls(`at-once-${round}`, 200, lengths)
    await holder.ask(keep(urls))
    times.push((await child.ask(taking(urls, 200))).ms)
    answers.push(await child.ask({ is: 'measure' }))
  }
  // The first ones make the room that one of them needs: it is not less than what they read, about 56 MiB.
  const [before, after] = [answers[1], answers.at(-1)]
  return [
    told('small: 200 at once, all of them', quantile(times, 0.5), 'ms'),
    growth(
      `small: resident memory after ${rounds} times 200 at once`,
      before,
      after,
      'residentBytes',
      64,
    ),
    bounded(
      `small: descriptors after ${rounds} times 200 at once`,
      (after?.descriptors ?? 0) - (before?.descriptors ?? 0),
      'descriptors',
      16,
    ),
  ]
}

/** What a peer that keeps all of them takes for questions about its state: they keep the event loop. */
async function held(holder: SmallProcess): Promise<Row[]> {
  const { explainMs, usageMs, tasks } = await holder.ask({ is: 'measure' })
  return [
    bounded(`small: explain() of a peer and scheduler with ${tasks} tasks`, explainMs, 'ms', 50),
    bounded(`small: usage() with ${tasks} tasks`, usageMs, 'ms', 1),
  ]
}

function keep(urls: readonly string[]) {
  const way: Way = 'store'
  return { is: 'fetch', urls, way, atOnce: 16, backToSource: 'allow', folder: '' } as const
}

function taking(urls: readonly string[], count: number) {
  const way: Way = 'bytes'
  return { is: 'fetch', urls, way, atOnce: count, backToSource: 'never', folder: '' } as const
}

/** Whether it takes longer and longer. The first part warmed up. */
function lastAgainstFirst(name: string, [, ...parts]: readonly number[], unit: string): Row {
  const note = `part by part: ${parts.map((each) => each.toFixed(1)).join(', ')} ${unit}`
  const times = (parts.at(-1) ?? Number.NaN) / (parts[0] ?? Number.NaN)
  return bounded(`${name} against the first`, times, 'times', 1.25, note)
}

function growth(
  name: string,
  before: Answer | undefined,
  after: Answer | undefined,
  what: 'heapBytes' | 'residentBytes',
  mebibytesMax: number,
): Row {
  const grown = ((after?.[what] ?? 0) - (before?.[what] ?? 0)) / mebibyte
  return bounded(name, grown, 'MiB more', mebibytesMax)
}

function bounded(name: string, value: number, unit: string, max: number, note?: string): Row {
  return {
    name,
    value,
    unit,
    reference: 'goal',
    referenceValue: max,
    ratio: value / max,
    goal: `≤ ${max} ${unit}`,
    holds: value <= max,
    ...(note === undefined ? {} : { note }),
  }
}

function told(name: string, value: number, unit: string): Row {
  const plain = { reference: '', referenceValue: Number.NaN, ratio: Number.NaN, goal: '' }
  return { name, value, unit, ...plain, holds: undefined }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

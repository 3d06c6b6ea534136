import type { Blame } from './blame.ts'
import { Dialogue } from './dialogue.ts'
import { Feeds } from './feeds.ts'
import { Fetcher, type Outcome } from './fetcher.ts'
import { OriginGate } from './origin-gate.ts'
import { type OriginAccess, shownUrl } from './origin-read.ts'
import { Parents } from './parents.ts'
import type { Piece } from './piece.ts'
import { originId } from './plan.ts'
import { Planner } from './planner.ts'
import type { Have, Parent, Registration, Sink, TaskSpec } from './ports.ts'
import { Rescue } from './rescue.ts'
import type { RunPorts, RunSettings } from './run-options.ts'

/** Milliseconds that peers without a scheduler hope for each other at least; at most twice as many. */
const loneHopeMsMin = 3000

/** The parts of a run. Each owns one kind of fact; none but the run calls more than its direct neighbour. */
export interface RunParts {
  readonly planner: Planner
  readonly parents: Parents
  readonly feeds: Feeds
  readonly fetcher: Fetcher
  readonly gate: OriginGate
  readonly dialogue: Dialogue
  readonly rescue: Rescue
}

/** What the parts tell the run and ask of it. */
export interface RunEvents {
  onParents(parents: readonly Parent[]): void
  onHave(parent: string, have: Have): boolean
  onParentFailed(parent: string, error: unknown, startedAt: number): Blame
  onOriginFailed(error: unknown, startedAt: number): void
  onOutcome(outcome: Outcome): void
  onKept(piece: Piece, parent: string, digest: string, costMs: number): void
  onChange(): void
  registration(): Registration
  lastError(): unknown
}

/** Makes the parts of a run and ties them together. Nothing works yet. */
export function runParts(
  spec: TaskSpec,
  sink: Sink,
  settings: RunSettings,
  ports: RunPorts,
  signal: AbortSignal,
  events: RunEvents,
): RunParts {
  const { clock, reader, feed } = ports
  const { validator, pieceTimeoutMs, quietTimeoutMs, parentsTimeoutMs } = settings
  const cut = sink.geometry
  const access = accessOf(spec, ports, settings)
  const onBytes = (): void => rescue.onProgress(clock.now())
  const onChange = (): void => events.onChange()
  const planner = new Planner(cut, settings, ports.random)
  const parents = new Parents()
  const fetcher = new Fetcher({ spec, sink, reader, access, clock }, settings, {
    hasOther: (number, parent) => planner.hasOther(number, parent),
    hasResort: () => gate.available,
    onBytes,
    onOutcome: (outcome) => events.onOutcome(outcome),
  })
  const feeds = new Feeds(
    { spec, cut, feed, clock, validator },
    {
      missing: (parent) => planner.missingNumbers(parent),
      onHave: (parent, have) => events.onHave(parent, have),
      onFailed: (parent, error, startedAt) => events.onParentFailed(parent, error, startedAt),
      onChange,
    },
    signal,
  )
  const gate = new OriginGate(
    { access, ranges: settings.originRanges, sink, clock, pieceTimeoutMs },
    planner,
    {
      onBytes,
      onKept: (piece, digest, costMs) => events.onKept(piece, originId, digest, costMs),
      onFailed: (error, startedAt) => events.onOriginFailed(error, startedAt),
      onChange,
    },
    signal,
  )
  const dialogue = new Dialogue(
    ports,
    settings,
    () => events.registration(),
    {
      onParents: (named) => events.onParents(named),
      onSource: () => gate.open(),
      wantsMore: () => welcomesMore(spec, planner),
      onChange,
    },
    signal,
  )
  const lastError = (): unknown => events.lastError()
  const rescue = new Rescue(
    {
      planner,
      parents,
      feeds,
      gate,
      dialogue,
      quietTimeoutMs,
      loneHopeMs: loneHopeMsMin * (1 + ports.random()),
      parentsTimeoutMs,
      task: spec.id,
      doubts: asksMore(spec),
      lastError,
    },
    clock.now(),
  )
  return { planner, parents, feeds, fetcher, gate, dialogue, rescue }
}

/** Whether pieces wait for a free place at a parent that has them. */
function welcomesMore(spec: TaskSpec, planner: Planner): boolean {
  return asksMore(spec) && planner.counts.waiting > planner.counts.unreachable
}

/** Go schedulers end the stream of the other kinds when they are asked for others and have none. */
function asksMore({ kind }: TaskSpec): boolean {
  return kind === 'standard'
}

/** The origin with what every read of it needs; undefined when it must not be touched, or there is none. */
function accessOf(
  spec: TaskSpec,
  { origin }: RunPorts,
  { backToSource, validator }: RunSettings,
): OriginAccess | undefined {
  if (origin === undefined || backToSource === 'never') return undefined
  return { origin, shownUrl: shownUrl(spec.url), validator }
}

import { PeerError } from '../errors.ts'
import type { Blame, Failure } from './blame.ts'
import { Dialogue } from './dialogue.ts'
import { Feeds } from './feeds.ts'
import { Fetcher, type Outcome } from './fetcher.ts'
import { AskedOrigin } from './asked-origin.ts'
import { Meetings } from './meetings.ts'
import { OriginGate } from './origin-gate.ts'
import { type OriginAccess, shownUrl } from './origin-read.ts'
import { Parents } from './parents.ts'
import type { Geometry, Piece, Range } from './piece.ts'
import { originId } from './plan.ts'
import { Planner } from './planner.ts'
import { Pulse } from './pulse.ts'
import type { Have, Parent, Registration, Sink, TaskSpec } from './ports.ts'
import { Rescue } from './rescue.ts'
import type { RunPorts, RunSettings } from './run-options.ts'
import { Versions } from './versions.ts'

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
  readonly versions: Versions
  readonly meetings: Meetings
}

/** What the parts tell the run and ask of it. */
export interface RunEvents {
  onParents(parents: readonly Parent[], how: 'named' | 'met'): void
  /** Nothing can go on. */
  onBroken(error: unknown): void
  onHave(parent: string, have: Have): boolean
  onParentFailed(parent: string, error: unknown, how: Omit<Failure, 'code'>): Blame
  onOriginFailed(error: unknown, startedAt: number): void
  onOutcome(outcome: Outcome): void
  onKept(piece: Piece, parent: string, digest: string, costMs: number): void
  onMixed(error: PeerError): void
  onChange(): void
  /** The part that is wanted; undefined for everything. */
  range(): Range | undefined
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
  const { pieceTimeoutMs, quietTimeoutMs, parentsTimeoutMs } = settings
  const cut = sink.geometry
  const versions = new Versions(
    {
      sink,
      version: settings.version,
      avoid: settings.avoid,
      keepVersion: (version) => {
        meetings.onVersion()
        return ports.keepVersion?.(version) ?? Promise.resolve()
      },
    },
    {
      onOther: (parent, error) =>
        void events.onParentFailed(parent, error, { startedAt: clock.now() }),
      onMixed: (error) => events.onMixed(error),
    },
  )
  const access = accessOf(spec, cut, versions, ports, settings)
  const onBytes = (): void => rescue.onProgress(clock.now())
  const onChange = (): void => events.onChange()
  const planner = new Planner(cut, settings, ports.random)
  const parents = new Parents()
  const fetcher = new Fetcher({ spec, sink, reader, access, clock }, settings, {
    // A child that is silent does not keep a piece that the origin could give.
    hasOther: (number, parent) =>
      planner.hasOther(number, parent) ||
      (parents.isMet(parent) && gate.allowed && gate.error === undefined),
    moves: (queued) => planner.moves(queued),
    hedge: (slow) => {
      const plan = planner.hedge(slow)
      const from = plan === undefined ? undefined : parents.address(plan.parent)
      if (plan !== undefined && from !== undefined) return { plan, from }
      if (plan !== undefined) planner.onHedged(plan.piece.number, false)
      return undefined
    },
    onHedged: (number, won) => planner.onHedged(number, won),
    hasResort: () => gate.available,
    onBytes: (parent) => {
      pulse.onLife(parent)
      onBytes()
    },
    admit: (parent, number, digest) => versions.admit(parent, number, digest),
    onOutcome: (outcome) => events.onOutcome(outcome),
  })
  const feeds = new Feeds(
    { spec, cut, feed, clock, version: () => versions.version, peerId: () => dialogue.peerId },
    {
      onTold: (parent, have, fits) => versions.onHave(parent, have, fits),
      missing: (parent) => shuffled(planner.missingNumbers(parent), ports.random),
      // What a child has is taken when it is known to be of the version that is wanted: nothing else speaks for it.
      onHave: (parent, have) => {
        pulse.onLife(parent)
        const believed = !parents.isMet(parent) || have.version === versions.version
        return believed && events.onHave(parent, have)
      },
      onFailed: (parent, error, startedAt) => events.onParentFailed(parent, error, { startedAt }),
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
    () => ({
      ...registrationOf(spec, settings, gate),
      peerId: ports.newPeerId(),
      geometry: cut,
      ...rangeOf(events.range()),
    }),
    {
      onParents: (named) => events.onParents(named, 'named'),
      onSource: () => gate.open(),
      wantsMore: () => welcomesMore(spec, planner),
      onChange,
    },
    signal,
  )
  const meetings = new Meetings(
    { spec, cut, announcer: ports.announcer, parents, version: () => versions.version },
    {
      onMet: (child) => events.onParents([child], 'met'),
      onBroken: (error) => events.onBroken(error),
    },
    signal,
  )
  const pulse = new Pulse(
    {
      clock,
      ping: feed.ping?.bind(feed),
      awaited: () => awaitedOf({ gate, planner, parents, feeds }),
    },
    ({ id }, silentMs) => {
      rescue.onDeath()
      events.onParentFailed(id, dead(id, silentMs), { startedAt: clock.now(), silence: 'dead' })
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
      pulse,
      quietTimeoutMs,
      loneHopeMs: loneHopeMsMin * (1 + ports.random()),
      parentsTimeoutMs,
      task: spec.id,
      doubts: asksMore(spec),
      lastError,
    },
    clock.now(),
  )
  return { planner, parents, feeds, fetcher, gate, dialogue, rescue, versions, meetings }
}

/**
 * The parents that a piece is asked of, and while something is missing that nobody has those who may get it. Nobody where there is no origin to turn to: then a parent
 * that stands still is better than none.
 */
function awaitedOf({
  gate,
  planner,
  parents,
  feeds,
}: Pick<RunParts, 'gate' | 'planner' | 'parents' | 'feeds'>): readonly Parent[] {
  if (!gate.available && !gate.hopeful) return []
  const hoped = planner.counts.unreachable > 0 && !gate.hopeful
  const asked = (id: string): boolean => (planner.load(id)?.inFlight ?? 0) > 0
  return parents.usable().filter(({ id }) => asked(id) || (hoped && feeds.mayTell(id)))
}

function dead(parent: string, timeoutMs: number): PeerError<'PARENT_TIMEOUT'> {
  const message = `Parent ${parent} gave no sign of life for ${timeoutMs} ms`
  return new PeerError('PARENT_TIMEOUT', message, { parent, timeoutMs })
}

/** `range` as a property that is there only when there is one. */
function rangeOf(range: Range | undefined): { readonly range?: Range } {
  return range === undefined ? {} : { range }
}

/** What the scheduler is told of how a run works. */
function registrationOf(
  spec: TaskSpec,
  { needBackToSource, persistent, concurrency }: RunSettings,
  gate: OriginGate,
): Pick<
  Registration,
  'spec' | 'needBackToSource' | 'backToSource' | 'metadataOnly' | 'persistent' | 'concurrency'
> {
  const backToSource = gate.available || gate.hopeful ? 'allow' : 'never'
  return { spec, needBackToSource, backToSource, metadataOnly: false, persistent, concurrency }
}

/**
 * In another order for each child: parents tell what they have in the order in which they are asked, and the first that are told are fetched first. Children that
 * start together would all ask a seed for the same pieces, and could exchange nothing.
 */
function shuffled(numbers: number[], random: () => number): number[] {
  for (let at = numbers.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1))
    const number = numbers[at] ?? 0
    numbers[at] = numbers[other] ?? 0
    numbers[other] = number
  }
  return numbers
}

/** Whether pieces wait: for a free place at a parent that has them, or for parents that have nothing yet to get something. */
function welcomesMore(spec: TaskSpec, planner: Planner): boolean {
  return asksMore(spec) && planner.counts.waiting > 0
}

/** Go schedulers end the stream of the other kinds when they are asked for others and have none. */
function asksMore({ kind }: TaskSpec): boolean {
  return kind === 'standard'
}

/** The origin with what every read of it needs; undefined when it must not be touched, or there is none. */
function accessOf(
  spec: TaskSpec,
  { contentLength }: Geometry,
  versions: Versions,
  { origin }: RunPorts,
  { backToSource, validator, originAsked }: RunSettings,
): OriginAccess | undefined {
  if (origin === undefined || backToSource === 'never') return undefined
  const url = shownUrl(spec.url)
  if (originAsked) return { origin, shownUrl: url, validator }
  const claim = (version: string): Promise<boolean> => versions.claim(version)
  const asked = new AskedOrigin({ origin, contentLength, shownUrl: url, claim })
  return { origin: asked, shownUrl: url, validator }
}

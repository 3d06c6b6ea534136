import type { ErrorCode } from '../errors.ts'
import type { StandingState } from './blame.ts'
import type { PieceCounts } from './plan.ts'
import type { TaskSpec } from './ports.ts'
import type { RunParts } from './run-parts.ts'

/** The state of a run as plain data: no URL, no header, no credential. */
export interface RunState {
  readonly task: string
  readonly state: 'idle' | 'active' | 'ended'
  /** Downloads that take part. */
  readonly shares: number
  readonly pieces: PieceCounts
  /** Bytes kept so far in this run. */
  readonly sourceBytes: number
  readonly peerBytes: number
  /** Bytes that came twice, because a second parent was asked for a piece that was slow to come. */
  readonly wastedBytes: number
  /** What it waits for now; `nothing` when pieces are being fetched or it is not active. */
  readonly waitsFor: 'nothing' | 'scheduler' | 'parents' | 'origin'
  /** `none`: must not be used. `closed`: not used yet. Else how it stands. */
  readonly origin: string
  /** `waiting` for an answer, `resting` before a question, `idle`, `silent` although an answer is due, `over`, or `closed` before it was opened. */
  readonly scheduler: string
  readonly parents: readonly RunParent[]
}

/** One parent in `RunState`. */
export interface RunParent {
  readonly id: string
  readonly address: string
  readonly seed: boolean
  /** The scheduler named it; else it is a child of ours that has pieces too. */
  readonly named: boolean
  readonly state: StandingState['is']
  /** Whether it may tell of more pieces. */
  readonly feed: 'open' | 'resting' | 'ended'
  /** Pieces it told to have. */
  readonly haves: number
  readonly inFlight: number
  /** Pieces and bytes that came from it. */
  readonly pieces: number
  readonly bytes: number
  readonly failures: number
  readonly lastFailure: ErrorCode | undefined
}

/** What `explainRun` looks at. */
export interface RunView {
  readonly spec: TaskSpec
  readonly phase: RunState['state']
  readonly parts: RunParts
  readonly shares: number
  readonly bytes: { readonly source: number; readonly peer: number }
}

/** Collects the state of a run. */
export function explainRun(view: RunView): RunState {
  const { planner, fetcher, feeds, parents, gate, dialogue } = view.parts
  return {
    task: view.spec.id,
    state: view.phase,
    shares: view.shares,
    pieces: planner.counts,
    sourceBytes: view.bytes.source,
    peerBytes: view.bytes.peer,
    wastedBytes: fetcher.wastedBytes,
    waitsFor: waitsFor(view),
    origin: gate.state,
    scheduler: dialogue.state,
    parents: parents.facts().map(({ parent, named, state, pieces, bytes, failures, lastCode }) => {
      const load = planner.load(parent.id)
      return {
        id: parent.id,
        address: parent.ip.includes(':')
          ? `[${parent.ip}]:${parent.port}`
          : `${parent.ip}:${parent.port}`,
        seed: parent.seed,
        named,
        state: state.is,
        feed: feeds.state(parent.id),
        haves: load?.haves ?? 0,
        inFlight: load?.inFlight ?? 0,
        pieces,
        bytes,
        failures,
        lastFailure: lastCode,
      }
    }),
  }
}

function waitsFor({ phase, parts: { planner, gate, dialogue } }: RunView): RunState['waitsFor'] {
  if (phase !== 'active' || planner.counts.fetching > 0) return 'nothing'
  if (gate.hopeful) return 'origin'
  return dialogue.busy ? 'scheduler' : 'parents'
}

import { versionToken } from '../hash/version.ts'
import type { Clock } from '../util/clock.ts'
import { wholeNumber } from '../util/settings.ts'
import type { Announcer, Feed, Origin, PieceReader } from './ports.ts'

/** What a run needs from the world. */
export interface RunPorts {
  readonly announcer: Announcer
  readonly feed: Feed
  readonly reader: PieceReader
  /** Without it the origin is never used. */
  readonly origin?: Origin
  readonly clock: Clock
  /** 0 up to, not including, 1. Breaks ties between equal pieces. */
  readonly random: () => number
  /** A fresh peer id for each registration: a scheduler keeps the old state of an id that it knows. */
  readonly newPeerId: () => string
  /** Writes the token of the version down where it outlives the process: it has become known, and no piece is kept before that is done. @defaultValue nothing is written down */
  readonly keepVersion?: (version: string) => Promise<void>
}

/** How a run works. Times are milliseconds. */
export interface RunOptions {
  /** Pieces fetched at once, origin included. Each holds a slot and a connection. @defaultValue 8 */
  readonly concurrency?: number
  /** Pieces asked of one parent at once, while there are others: one that comes and one that waits behind it. The only parent is asked for up to 8. @defaultValue 2 */
  readonly parentInFlightMax?: number
  /** Pieces asked of the origin at once. @defaultValue 4 */
  readonly originInFlightMax?: number
  /** A fetch without a new byte for this long goes to somebody else, if there is somebody. Doubles for the same piece. @defaultValue 1500 */
  readonly patienceMs?: number
  /** A fetch without a new byte for this long is over. @defaultValue 60000 */
  readonly pieceTimeoutMs?: number
  /**
   * Parents that have none of the missing pieces yet, but are connected and may get them, are trusted for this long without any progress. A seed
   * that reads a slow origin needs minutes for its first pieces. @defaultValue 180000
   */
  readonly quietTimeoutMs?: number
  /** Without anybody who could deliver and without the origin, the run fails with NO_PARENTS after this long. @defaultValue 10000 */
  readonly parentsTimeoutMs?: number
  /** A scheduler that has not answered a question for this long is not waited for. An embedded scheduler waits 8 s for a seed. @defaultValue 10000 */
  readonly answerTimeoutMs?: number
  /** Times that the scheduler is asked for other parents before a piece was kept since. Asked at once, then after 500 ms, 1 s, 2 s … @defaultValue 4 */
  readonly rescheduleMax?: number
  /** `never`: the origin is not touched, whatever happens. @defaultValue 'allow' */
  readonly backToSource?: 'allow' | 'never'
  /** The scheduler ordered this download; it is told so when it is registered. @defaultValue false */
  readonly needBackToSource?: boolean
  /** This copy of a persistent kind is kept until its time to live is over; the scheduler is told so. @defaultValue false */
  readonly persistent?: boolean
  /** Whether the origin gives parts. If not it is read in one stream from its beginning. @defaultValue true */
  readonly originRanges?: boolean
  /** Version of the content at the origin: asked of the origin, and of parents that know versions. */
  readonly validator?: string
  /** Token of the version, where the validator itself is not known. @defaultValue that of `validator` */
  readonly version?: string
  /** Tokens of versions that are not taken, because nobody had the rest of them. Not looked at when the version is known. @defaultValue none */
  readonly avoid?: readonly string[]
  /** Whether the origin was asked about the content before: if so, `validator` is missing because it has none. @defaultValue true */
  readonly originAsked?: boolean
}

/** `RunOptions`, complete. */
export type RunSettings = Required<Omit<RunOptions, 'validator' | 'version'>> & {
  readonly validator: string | undefined
  readonly version: string | undefined
}

/** What `RunOptions` means when a key is left out. */
export const runDefaults: Required<Omit<RunOptions, 'validator' | 'version'>> = Object.freeze({
  concurrency: 8,
  parentInFlightMax: 2,
  originInFlightMax: 4,
  patienceMs: 1500,
  pieceTimeoutMs: 60_000,
  quietTimeoutMs: 180_000,
  parentsTimeoutMs: 10_000,
  answerTimeoutMs: 10_000,
  rescheduleMax: 4,
  backToSource: 'allow',
  needBackToSource: false,
  persistent: false,
  originRanges: true,
  originAsked: true,
  avoid: Object.freeze([]),
})

const dayMs = 86_400_000

/** Fills in the defaults. @throws TypeError, RangeError for a figure that makes no sense */
export function runSettings(options: RunOptions): RunSettings {
  const number = (key: NumberKey, min: number, max: number): number =>
    wholeNumber(key, options[key] ?? runDefaults[key], min, max)
  return Object.freeze({
    concurrency: number('concurrency', 1, 1024),
    parentInFlightMax: number('parentInFlightMax', 1, 1024),
    originInFlightMax: number('originInFlightMax', 1, 1024),
    patienceMs: number('patienceMs', 1, dayMs),
    pieceTimeoutMs: number('pieceTimeoutMs', 1, dayMs),
    quietTimeoutMs: number('quietTimeoutMs', 1, dayMs),
    parentsTimeoutMs: number('parentsTimeoutMs', 1, dayMs),
    answerTimeoutMs: number('answerTimeoutMs', 1, dayMs),
    rescheduleMax: number('rescheduleMax', 0, 1000),
    backToSource: options.backToSource ?? runDefaults.backToSource,
    needBackToSource: options.needBackToSource ?? runDefaults.needBackToSource,
    persistent: options.persistent ?? runDefaults.persistent,
    originRanges: options.originRanges ?? runDefaults.originRanges,
    originAsked: options.originAsked ?? runDefaults.originAsked,
    avoid: options.avoid ?? runDefaults.avoid,
    validator: options.validator,
    version: options.version ?? tokenOf(options.validator),
  })
}

function tokenOf(validator: string | undefined): string | undefined {
  return validator === undefined ? undefined : versionToken(validator)
}

type NumberKey = {
  [K in keyof RunOptions]-?: NonNullable<RunOptions[K]> extends number ? K : never
}[keyof RunOptions]

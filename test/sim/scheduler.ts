import { PeerError } from '../../src/errors.ts'
import type {
  Announcer,
  Answer,
  Parent,
  PieceReport,
  Registration,
  Session,
  SessionEnd,
  TaskSpec,
} from '../../src/task/ports.ts'
import { deferred } from '../../src/util/deferred.ts'
import { never } from './clock.ts'
import type { SimParent } from './parents.ts'

/** What a session was told, as short words in order. */
export type Told =
  | 'started'
  | 'sourceStarted'
  | `reschedule ${string}`
  | `done ${number}`
  | `failed ${number} ${string}`
  | `end ${string}`

/** An answer that names these parents. */
export function parents(...named: readonly SimParent[]): Answer {
  return { is: 'parents', parents: named.map(({ parent }) => parent) }
}

/** The connection to the scheduler broke. */
export function lost(): PeerError<'SCHEDULER_UNAVAILABLE'> {
  const details = { addresses: ['127.0.0.1:8002'], reason: 'Simulated' }
  return new PeerError('SCHEDULER_UNAVAILABLE', 'Simulated', details)
}

/** One simulated session: answers are put into it, what it is told is written down. */
export class SimSession implements Session {
  readonly registration: Registration
  readonly told: Told[] = []
  readonly reports: PieceReport[] = []
  readonly #answers: (Answer | PeerError | undefined)[] = []
  readonly #onReschedule: (session: SimSession, parents: readonly Parent[]) => void
  #wake = deferred<void>()
  #ended = false

  constructor(registration: Registration, onReschedule: SimSession['onReschedule']) {
    this.registration = registration
    this.#onReschedule = onReschedule
  }

  /** Whether it was finished. */
  get ended(): boolean {
    return this.#ended
  }

  get onReschedule(): (session: SimSession, parents: readonly Parent[]) => void {
    return this.#onReschedule
  }

  /** The next answer: an error breaks the connection, undefined ends it in order. */
  answer(answer: Answer | PeerError | undefined): void {
    this.#answers.push(answer)
    this.#wake.resolve()
  }

  async next(signal: AbortSignal): Promise<Answer | undefined> {
    while (this.#answers.length === 0) {
      await Promise.race([this.#wake.promise, never(signal)])
      this.#wake = deferred()
    }
    const answer = this.#answers.shift()
    if (answer instanceof PeerError) throw answer
    return answer
  }

  started(): void {
    this.told.push('started')
  }

  sourceStarted(): void {
    this.told.push('sourceStarted')
  }

  reschedule(named: readonly Parent[], _reason: string): void {
    this.told.push(`reschedule ${named.map(({ id }) => id).join(',')}`)
    this.#onReschedule(this, named)
  }

  pieceDone(report: PieceReport): void {
    this.reports.push(report)
    this.told.push(`done ${report.piece.number}`)
  }

  pieceFailed(number: number, parentId: string): void {
    this.told.push(`failed ${number} ${parentId}`)
  }

  async finish(how: SessionEnd): Promise<void> {
    this.#ended = true
    const reason = how.is === 'failed' ? ` ${how.reason}` : ''
    this.told.push(`end ${how.is}${how.source ? ' source' : ''}${reason}`)
  }
}

/** A simulated scheduler: gives the first answer of each session from a list, and what `onReschedule` puts in later. */
export class SimAnnouncer implements Announcer {
  readonly sessions: SimSession[] = []
  readonly #first: (Answer | PeerError | undefined)[]
  readonly #onReschedule: SimSession['onReschedule']
  readonly #known: (peerId: string) => Parent | undefined

  /** @param first - one entry for each session; a session beyond the list is never answered */
  constructor(
    first: readonly (Answer | PeerError | undefined)[],
    onReschedule: SimSession['onReschedule'] = () => undefined,
    known: (peerId: string) => Parent | undefined = () => undefined,
  ) {
    this.#first = [...first]
    this.#known = known
    this.#onReschedule = onReschedule
  }

  /** The last session. */
  get session(): SimSession {
    const session = this.sessions.at(-1)
    if (session === undefined) throw new Error('No session was opened')
    return session
  }

  async find(_spec: TaskSpec, peerId: string): Promise<Parent | undefined> {
    return this.#known(peerId)
  }

  open(registration: Registration): Session {
    const session = new SimSession(registration, this.#onReschedule)
    if (this.#first.length > 0) session.answer(this.#first.shift())
    this.sessions.push(session)
    return session
  }
}

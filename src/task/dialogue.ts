import { PeerError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import type {
  Announcer,
  Answer,
  Parent,
  PieceReport,
  Registration,
  Session,
  SessionEnd,
} from './ports.ts'

/** Most answers that are heard in one session. A scheduler that sends more is not listened to any more. */
export const answersMax: number = 256
/** Most sessions that one run opens, the first included: later ones only when a session was lost and nobody else can help. */
export const sessionsMax: number = 4
/** Pause before the second question without a kept piece between them, in milliseconds; doubles with each further one. */
export const questionPauseMs: number = 500

/** Most questions for more parents in one run. */
export const moreQuestionsMax: number = 3
/**
 * When the first of them is asked, in milliseconds after an answer: those who start together have registered by then. Each later one waits twice as long: those
 * who come one after another are known to the first only then.
 */
export const moreParentsMs: number = 400

/** Bounds of a dialogue. */
export interface DialogueLimits {
  readonly answerTimeoutMs: number
  readonly rescheduleMax: number
}

/** What the dialogue tells. */
export interface DialogueEvents {
  /** The scheduler named parents; there may be none. */
  onParents(parents: readonly Parent[]): void
  /** The scheduler orders to go to the origin. True: that is done. */
  onSource(): boolean
  /** Whether more parents would make the download faster now. */
  wantsMore(): boolean
  /** Anything else changed: an answer, a silence, an end. */
  onChange(): void
}

/** `waiting`: an answer is due. `resting`: a question follows after a pause. `idle`: nothing is asked. `silent`: an answer was due and did not come in time. */
type State =
  | { readonly is: 'closed' }
  | { readonly is: 'waiting' }
  | { readonly is: 'resting' }
  | { readonly is: 'idle' }
  | { readonly is: 'silent' }
  | { readonly is: 'over'; readonly error: unknown }

/**
 * The talk with the scheduler in one run: opens sessions, hears their answers, asks for other parents a bounded number of times, and does not
 * wait for ever for a word. Losing the scheduler is a state here, never a failure of the run.
 */
export class Dialogue {
  readonly #announcer: Announcer
  readonly #clock: Clock
  readonly #limits: DialogueLimits
  readonly #registration: () => Registration
  readonly #events: DialogueEvents
  readonly #signal: AbortSignal
  #state: State = { is: 'closed' }
  #session: Session | undefined
  #peerId: string | undefined
  #sessions = 0
  #questions = 0
  #ordered = false
  #moreQuestions = 0
  /** The open question was for more parents, and nobody is needed. */
  #welcoming = false
  #told = false
  #cancelTimer: () => void = () => undefined
  #cancelMore: () => void = () => undefined

  constructor(
    ports: { readonly announcer: Announcer; readonly clock: Clock },
    limits: DialogueLimits,
    registration: () => Registration,
    events: DialogueEvents,
    signal: AbortSignal,
  ) {
    this.#announcer = ports.announcer
    this.#clock = ports.clock
    this.#limits = limits
    this.#registration = registration
    this.#events = events
    this.#signal = signal
  }

  /** Whether an answer may come that is worth waiting for. */
  get busy(): boolean {
    return this.#state.is === 'waiting' || this.#state.is === 'resting'
  }

  /** Under which the scheduler knows this download; undefined before it was told of it. */
  get peerId(): string | undefined {
    return this.#peerId
  }

  /** How it stands, for `explain()`. */
  get state(): string {
    return this.#state.is
  }

  /** Whether the origin is used on the scheduler's order. */
  get ordered(): boolean {
    return this.#ordered
  }

  /** Whether there was somebody to tell the end to: false when the last session was lost. */
  get told(): boolean {
    return this.#told
  }

  /** With what the last session was lost; undefined when it was not. */
  get error(): unknown {
    return this.#state.is === 'over' ? this.#state.error : undefined
  }

  /** A rule of the cluster forbids this download. */
  get forbidden(): boolean {
    return PeerError.is(this.error, 'SCHEDULER_REFUSED') && this.error.details.forbidden === true
  }

  /** closed → waiting: registers. */
  open(): void {
    const registration = this.#registration()
    const session = this.#announcer.open(registration)
    this.#session = session
    this.#peerId = registration.peerId
    this.#sessions++
    this.#await()
    void this.#listen(session)
  }

  /** idle → waiting, resting: asks for other parents. False when that cannot be done any more, or not now. */
  ask(parents: () => readonly Parent[], reason: string): boolean {
    if (this.#state.is !== 'idle' || this.#questions >= this.#limits.rescheduleMax) return false
    const pauseMs = this.#questions === 0 ? 0 : questionPauseMs * 2 ** (this.#questions - 1)
    this.#questions++
    const send = (): void => {
      this.#session?.reschedule(parents(), reason)
      this.#await()
    }
    if (pauseMs === 0) send()
    else this.#rest(pauseMs, send)
    return true
  }

  /** idle → waiting: asks who else there is than `useless`. The question is not counted. False when it cannot be asked now. */
  askMore(useless: readonly Parent[], reason: string): boolean {
    if (this.#state.is !== 'idle') return false
    this.#session?.reschedule(useless, reason)
    this.#await()
    return true
  }

  /** over → resting: registers anew after a pause, because the connection was lost. False when that cannot be done any more, or makes no sense. */
  reopen(): boolean {
    if (this.#state.is !== 'over' || this.#sessions >= sessionsMax) return false
    if (!PeerError.is(this.#state.error, 'SCHEDULER_UNAVAILABLE')) return false
    void this.#session?.finish({ is: 'failed', source: this.#ordered, reason: 'Connection lost' })
    this.#session = undefined
    this.#rest(questionPauseMs * 2 ** (this.#sessions - 1), () => this.open())
    return true
  }

  /** A piece was kept: questions are counted anew. */
  onProgress(): void {
    this.#questions = 0
  }

  /** Reports a kept piece. Never waits. */
  pieceDone(report: PieceReport): void {
    if (this.#state.is !== 'over') this.#session?.pieceDone(report)
  }

  /** Reports that this parent is given up, with the piece that showed it. Never waits. */
  pieceFailed(number: number, parentId: string): void {
    if (this.#state.is !== 'over') this.#session?.pieceFailed(number, parentId)
  }

  /** Tells the end and waits for the scheduler to have it, within the session's bound. */
  async finish(end: SessionEnd): Promise<void> {
    this.#cancelTimer()
    this.#cancelMore()
    const session = this.#session
    this.#told = session !== undefined && this.#state.is !== 'over'
    this.#session = undefined
    this.#state = { is: 'over', error: undefined }
    await session?.finish(end)
  }

  async #listen(session: Session): Promise<void> {
    try {
      for (let heard = 0; heard < answersMax; heard++) {
        const answer = await session.next(this.#signal)
        if (this.#session !== session) return
        if (answer === undefined) return this.#lose(session, undefined)
        this.#hear(session, answer)
      }
      this.#lose(session, tooTalkative())
    } catch (error) {
      if (!this.#signal.aborted) this.#lose(session, error)
    }
  }

  /** waiting, silent, resting, idle → idle. An answer that nobody asked for counts like any other, and makes a question that rests needless. */
  #hear(session: Session, answer: Answer): void {
    this.#cancelTimer()
    this.#state = { is: 'idle' }
    // Go schedulers send to the origin whom they can name nobody else: who only wants more parents has some.
    const welcoming = this.#welcoming
    this.#welcoming = false
    if (answer.is === 'parents') {
      session.started()
      this.#events.onParents(answer.parents)
      if (answer.parents.length > 0) this.#planMore()
    } else if (answer.is === 'source' && !welcoming && this.#events.onSource()) {
      this.#ordered = true
      session.sourceStarted()
    }
    // `empty` and `metadata` are no answers to what was asked: content is missing, so there is something to download. They name nobody.
    this.#events.onChange()
  }

  /**
   * A few times in a run. Naming nobody blocks nobody: a scheduler answers with those that it would name now, some of them others, and the old ones stay. It is no
   * call for help, and is not counted as one.
   */
  #planMore(): void {
    if (this.#moreQuestions >= moreQuestionsMax) return
    const afterMs = moreParentsMs * 2 ** this.#moreQuestions
    this.#cancelMore()
    this.#cancelMore = this.#clock.after(afterMs, () => {
      if (!this.#events.wantsMore()) return
      if (!this.askMore([], 'More parents are welcome')) return
      this.#moreQuestions++
      this.#welcoming = true
    })
  }

  #lose(session: Session, error: unknown): void {
    if (this.#session !== session) return
    this.#cancelTimer()
    this.#cancelMore()
    this.#state = { is: 'over', error }
    this.#events.onChange()
  }

  /** → waiting → silent */
  #await(): void {
    this.#cancelTimer()
    this.#state = { is: 'waiting' }
    this.#cancelTimer = this.#clock.after(this.#limits.answerTimeoutMs, () => {
      this.#state = { is: 'silent' }
      this.#events.onChange()
    })
  }

  /** → resting → what `then` makes of it */
  #rest(delayMs: number, then: () => void): void {
    this.#cancelTimer()
    this.#state = { is: 'resting' }
    this.#cancelTimer = this.#clock.after(delayMs, then)
  }
}

function tooTalkative(): PeerError<'SCHEDULER_REFUSED'> {
  const reason = `More than ${answersMax} answers in one session`
  return new PeerError('SCHEDULER_REFUSED', reason, { method: 'AnnouncePeer', reason })
}

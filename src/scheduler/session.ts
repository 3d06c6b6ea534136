import { PeerError } from '../errors.ts'
import type { Candidate } from '../rpc/convert-peer.ts'
import type {
  Answer,
  Parent,
  PieceReport,
  Registration,
  Session,
  SessionEnd,
} from '../task/ports.ts'
import type { Clock } from '../util/clock.ts'
import { deferred } from '../util/deferred.ts'
import { type Dialect, dialects, type Heard } from './dialect.ts'
import {
  refused,
  type SchedulerFailure,
  schedulerFailure,
  turnedDown,
  unavailable,
} from './failure.ts'
import { Inbox } from './inbox.ts'
import type { SchedulerNode } from './nodes.ts'
import { ReportQueue } from './report-queue.ts'

/** Answers in a row that name nobody who can be asked. After them the scheduler counts as having refused: it would go on for ever. */
export const uselessAnswersMax = 8
/** Times that all schedulers are asked again because they have too much to do. */
export const busyRetriesMax = 3
/** Pause before the first of these, in milliseconds; it doubles. Half of it is left to chance, so that those who were turned away together do not come back together. */
export const busyPauseMs = 250
/**
 * A scheduler that has not even sent headers after this long is taken for hung, and the next one is asked, in milliseconds. A Go scheduler sends them with its first
 * answer, which takes up to 4 s.
 */
export const headersTimeoutMs = 8_000
/** Candidates that are remembered, to be echoed in a reschedule. */
export const echoesMax = 1024

/** Why the call of a stream ends. Made once: making the reason of a bare `abort()` is a good part of what a small task costs. It never leaves this file. */
const streamOver = new Error('The stream is over')

/** What a session needs of its client. */
export interface SessionWorld {
  readonly clock: Clock
  /** 0 up to, not including, 1. @defaultValue `Math.random` */
  readonly random?: () => number
  readonly hostId: string
  /** Fires when the client closes. */
  readonly signal: AbortSignal
  /** Milliseconds that `finish()` waits for the scheduler to end the stream. */
  readonly finishTimeoutMs: number
  /** Whom to ask, the first one first. */
  readonly nodes: readonly SchedulerNode[]
  /** Makes the host known to a scheduler that does not know it. Rejects with what the call failed with. */
  announceTo(node: SchedulerNode): Promise<void>
}

/**
 * One announced download over one stream (controlplane 1).
 *
 * Until the first answer only the registration is sent, so a scheduler that is down is passed over for the next one of the ring, and one that
 * does not know this host is told of it, without anybody noticing. After it the stream is bound to its scheduler: when it breaks,
 * `next()` says so once, and what is reported later goes nowhere.
 */
export class AnnounceSession implements Session {
  readonly #world: SessionWorld
  readonly #registration: Registration
  readonly #queue = new ReportQueue()
  readonly #inbox = new Inbox<Answer>()
  readonly #candidates = new Map<string, Candidate>()
  readonly #mayTalk = deferred<void>()
  readonly #over = deferred<void>()
  readonly #call = new AbortController()
  #answered = false
  /** An answer of the scheduler that is talked to is due from now on. */
  #expect: () => void = () => undefined
  #useless = 0
  #startedOnce = false
  #ending: Promise<void> | undefined

  constructor(world: SessionWorld, registration: Registration) {
    this.#world = world
    this.#registration = registration
    void this.#run()
  }

  /** Resolves when the stream is gone, however it went. */
  get over(): Promise<void> {
    return this.#over.promise
  }

  next(signal: AbortSignal): Promise<Answer | undefined> {
    return this.#inbox.next(signal)
  }

  started(): void {
    const dialect = this.#dialect()
    if (this.#startedOnce && dialect?.startsOnce === true) return
    this.#startedOnce = true
    this.#queue.push({ is: 'started' })
  }

  sourceStarted(): void {
    this.#startedOnce = true
    this.#queue.push({ is: 'sourceStarted' })
  }

  reschedule(parents: readonly Parent[], reason: string): void {
    const candidates = parents.flatMap(({ id }) => this.#candidates.get(id) ?? [])
    this.#queue.push({ is: 'reschedule', candidates, reason })
    this.#expect()
  }

  pieceDone(report: PieceReport): void {
    this.#queue.push({ is: 'piece', report, also: [] })
  }

  pieceFailed(number: number, parentId: string): void {
    this.#queue.push({ is: 'pieceFailed', number, parentId })
  }

  finish(how: SessionEnd): Promise<void> {
    this.#ending ??= this.#finish(how)
    return this.#ending
  }

  /** What is going on, as plain data. */
  explain(): unknown {
    return {
      task: this.#registration.spec.id,
      peer: this.#registration.peerId,
      answered: this.#answered,
      ending: this.#ending !== undefined,
      unreadAnswers: this.#inbox.length,
      waitingReports: this.#queue.length,
      droppedReports: this.#queue.dropped,
    }
  }

  async #finish(how: SessionEnd): Promise<void> {
    // Both kinds may only succeed after they have started; a task that is empty or complete here never said so.
    if (how.is === 'done' && !this.#startedOnce) this.started()
    this.#queue.push({ is: 'end', how })
    this.#queue.close()
    this.#mayTalk.resolve()
    // Nobody reads answers any more, and the stream must not wait for it.
    this.#inbox.end()
    const { clock, finishTimeoutMs } = this.#world
    const release = clock.after(finishTimeoutMs, () => this.#call.abort())
    await this.#over.promise
    release()
  }

  async #run(): Promise<void> {
    const stop = (): void => this.#call.abort(this.#world.signal.reason)
    this.#world.signal.addEventListener('abort', stop, { once: true })
    if (this.#world.signal.aborted) stop()
    try {
      await this.#askNodes()
      this.#inbox.end()
    } catch (error) {
      this.#inbox.fail(error)
    } finally {
      this.#world.signal.removeEventListener('abort', stop)
      this.#queue.clear()
      this.#mayTalk.resolve()
      this.#over.resolve()
    }
  }

  async #askNodes(): Promise<void> {
    const dialect = this.#dialect()
    const { kind } = this.#registration.spec
    if (dialect === undefined) throw refused('AnnouncePeer', `${kind} tasks cannot be announced`)
    for (let retries = 0; ; retries++) {
      const failure = await this.#askEach(dialect)
      if (failure === undefined) return
      const again = failure.is === 'busy' && retries < busyRetriesMax
      if (!again || !(await this.#pause(retries))) {
        this.#world.signal.throwIfAborted()
        throw unavailable(this.#addresses(), failure.reason)
      }
    }
  }

  /** Undefined when the stream ended in order; else why nobody could be asked, `busy` when somebody is there. */
  async #askEach(dialect: Dialect): Promise<SchedulerFailure | undefined> {
    let last: SchedulerFailure = { is: 'gone', reason: 'no address is known' }
    for (const node of this.#world.nodes) {
      const release = node.hold()
      try {
        const failure = await this.#ask(node, dialect)
        if (failure === undefined) return undefined
        if (last.is !== 'busy') last = failure
      } finally {
        release()
      }
    }
    return last
  }

  /** False when nobody waits any more. */
  async #pause(retries: number): Promise<boolean> {
    const { clock, random = Math.random } = this.#world
    const pauseMs = busyPauseMs * 2 ** retries * (0.5 + random() / 2)
    const { signal } = this.#call
    if (signal.aborted) return false
    const over = deferred<void>()
    const release = clock.after(pauseMs, over.resolve)
    signal.addEventListener('abort', () => over.resolve(), { once: true })
    await over.promise
    release()
    return !signal.aborted
  }

  /** Undefined when the stream ended in order; a failure when the next scheduler may be asked. */
  async #ask(node: SchedulerNode, dialect: Dialect): Promise<SchedulerFailure | undefined> {
    for (let announced = false; ; announced = true) {
      const failure = await this.#attempt(node, dialect)
      if (failure === undefined) return undefined
      if (failure.is === 'gone') node.down(failure.reason)
      if (failure.is === 'gone' || failure.is === 'busy') {
        if (this.#answered) throw unavailable(this.#addresses(), failure.reason)
        return failure
      }
      // It has forgotten this peer in the middle: another registration starts anew.
      if (failure.is === 'unknown' && this.#answered) {
        throw unavailable(this.#addresses(), failure.reason)
      }
      if (failure.is === 'refused' || announced) {
        throw this.#answered
          ? refused(dialect.method, failure.reason)
          : turnedDown(dialect.method, failure)
      }
      try {
        await this.#world.announceTo(node)
      } catch (error) {
        const missed = schedulerFailure(error)
        if (missed.is === 'gone' || missed.is === 'busy') return missed
        throw refused('AnnounceHost', missed.reason, error)
      }
    }
  }

  async #attempt(node: SchedulerNode, dialect: Dialect): Promise<SchedulerFailure | undefined> {
    const attempt = new AbortController()
    const stop = (): void => attempt.abort(streamOver)
    this.#call.signal.addEventListener('abort', stop, { once: true })
    if (this.#call.signal.aborted) stop()
    const { spec, peerId } = this.#registration
    const name = { hostId: this.#world.hostId, taskId: spec.id, peerId }
    let hung: string | undefined
    const onHang = (reason: string): void => {
      hung = reason
      stop()
    }
    const noHeader = `no answer began within ${headersTimeoutMs} ms`
    const onHeader = node.isLocal
      ? () => undefined
      : this.#world.clock.after(headersTimeoutMs, () => onHang(noHeader))
    let heardFrom = (): void => undefined
    this.#expect = () => {
      heardFrom()
      heardFrom = node.expect(({ rawMessage }) => onHang(rawMessage))
    }
    this.#expect()
    try {
      const { signal } = attempt
      const options = { signal, onHeader }
      for await (const heard of dialect.call(node.client, name, this.#say(signal), options)) {
        heardFrom()
        node.up()
        this.#answered = true
        if (heard?.several === true) this.#queue.gather(this.#world.clock)
        this.#mayTalk.resolve()
        this.#count(heard, dialect)
        if (heard !== undefined) await this.#take(heard)
      }
      return undefined
    } catch (error) {
      if (PeerError.is(error)) throw error
      if (this.#world.signal.aborted) throw this.#world.signal.reason
      // The time for the end is over; nobody waits for this stream any more.
      if (this.#call.signal.aborted) return undefined
      if (hung !== undefined) return { is: 'gone', reason: hung }
      return schedulerFailure(error)
    } finally {
      onHeader()
      this.#expect = () => undefined
      heardFrom()
      // A loop that is left does not end the call; this does.
      stop()
      this.#call.signal.removeEventListener('abort', stop)
    }
  }

  async *#say(signal: AbortSignal) {
    yield { is: 'register', registration: this.#registration } as const
    await this.#mayTalk.promise
    // Another attempt may have taken over; the queue is its own then.
    if (!signal.aborted) yield* this.#queue.drain()
  }

  async #take({ answer, candidates }: Heard): Promise<void> {
    for (const [id, message] of candidates) {
      this.#candidates.delete(id)
      this.#candidates.set(id, message)
    }
    for (const id of this.#candidates.keys()) {
      if (this.#candidates.size <= echoesMax) break
      this.#candidates.delete(id)
    }
    await this.#inbox.push(answer)
  }

  #count(heard: Heard | undefined, { method }: Dialect): void {
    const answer = heard?.answer
    const useless = answer === undefined || (answer.is === 'parents' && answer.parents.length === 0)
    this.#useless = useless ? this.#useless + 1 : 0
    if (this.#useless >= uselessAnswersMax) {
      throw refused(method, `It sent ${this.#useless} answers that name nobody to ask`)
    }
  }

  #dialect(): Dialect | undefined {
    return dialects[this.#registration.spec.kind]
  }

  #addresses(): readonly string[] {
    return this.#world.nodes.map(({ address }) => address)
  }
}

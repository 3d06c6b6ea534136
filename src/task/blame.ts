import type { ErrorCode } from '../errors.ts'

/**
 * What a failure says about whoever was asked.
 * `ban`: never ask again in this download. `strike`: pause, and give up after some in a row. `refuse`: not for this piece.
 * `local`: nobody else can help, the download ends.
 */
export type Blame = 'ban' | 'strike' | 'refuse' | 'local'

/** The one place that decides who is to blame for which failure of a fetch, parents and origin alike. */
export function blameFor(code: ErrorCode): Blame {
  let blame: Blame
  // No default: a new code does not compile before it has its place here.
  switch (code) {
    case 'DIGEST_MISMATCH':
    case 'PARENT_PROTOCOL':
    case 'ORIGIN_CHANGED':
    case 'ORIGIN_NOT_FOUND':
    case 'ORIGIN_FORBIDDEN':
    case 'ORIGIN_REDIRECT':
    case 'ORIGIN_TLS':
    case 'ORIGIN_PROTOCOL':
    case 'RANGE_NOT_SATISFIABLE':
    case 'INVALID_URL':
    case 'UNKNOWN_SCHEME':
      blame = 'ban'
      break
    case 'PARENT_UNREACHABLE':
    case 'PARENT_TIMEOUT':
    case 'ORIGIN_UNAVAILABLE':
    case 'ORIGIN_UNREACHABLE':
    case 'FOREIGN':
    case 'LIMIT_REACHED':
      blame = 'strike'
      break
    case 'PARENT_REFUSED':
    case 'TASK_NOT_FOUND':
      blame = 'refuse'
      break
    case 'NO_PARENTS':
    case 'SCHEDULER_UNAVAILABLE':
    case 'SCHEDULER_REFUSED':
    case 'TOO_LARGE':
    case 'NO_SPACE':
    case 'OUTPUT_EXISTS':
    case 'PERMISSION_DENIED':
    case 'FILE_NOT_FOUND':
    case 'FILE_CHANGED':
    case 'STORE_FAILED':
    case 'STORE_LOCKED':
    case 'STORE_VERSION':
    case 'STORE_CORRUPT':
    case 'LISTEN_FAILED':
    case 'NOT_PERMITTED':
    case 'CLOSED':
      blame = 'local'
      break
  }
  return blame
}

/** Whether somebody may be asked. `hopeful`: it is expected to deliver when the pause is over. */
export type StandingState =
  | { readonly is: 'live' }
  | { readonly is: 'paused'; readonly untilMs: number; readonly hopeful: boolean }
  | { readonly is: 'dropped'; readonly code: ErrorCode }
  | { readonly is: 'banned'; readonly code: ErrorCode }

/** What went wrong with a request, and when it began, by the same clock as everything here. */
export interface Failure {
  readonly code: ErrorCode
  readonly startedAt: number
  /** `slow`: it was taken away because somebody else may be faster. `silent`: nothing came for the longest time that anybody waits. `dead`: it gave no sign of life. */
  readonly silence?: 'slow' | 'silent' | 'dead'
}

/** Failures in a row after which somebody is not asked any more. Being slow is not counted. */
export const strikesMax: number = 3
/** Pause after the first failure, in milliseconds; it doubles with each further one in a row. */
export const pauseMs: number = 500
/** Longest pause of somebody who is only slow. */
export const slowPauseMsMax: number = 16_000

const live: StandingState = Object.freeze({ is: 'live' })

/**
 * How somebody who is asked for pieces, a parent or the origin, stands in one download.
 *
 * Slowness is no reason to give somebody up: when all are busy, all are slow, and a download that drops them one by one ends with nobody.
 */
export class Standing {
  #state: StandingState = live
  #strikes = 0
  #slow = 0
  #struckAt = Number.NEGATIVE_INFINITY
  #failures = 0
  #lastCode: ErrorCode | undefined

  /** What may be done with it now. */
  get state(): StandingState {
    return this.#state
  }

  /** Failures so far. */
  get failures(): number {
    return this.#failures
  }

  /** Code of the last failure. */
  get lastCode(): ErrorCode | undefined {
    return this.#lastCode
  }

  /** Neither dropped nor banned. */
  get usable(): boolean {
    return this.#state.is === 'live' || this.#state.is === 'paused'
  }

  /**
   * live, paused → paused, dropped, banned. Requests that were under way together fail together when somebody goes silent: those that began
   * before the last failure prolong the pause and are not counted again.
   */
  onFailure({ code, startedAt, silence }: Failure, now: number): Blame {
    const blame = blameFor(code)
    this.#failures++
    this.#lastCode = code
    if (!this.usable) return blame
    if (blame === 'ban') this.#state = { is: 'banned', code }
    if (blame !== 'strike') return blame
    const counts = startedAt >= this.#struckAt
    if (counts) this.#struckAt = now
    if (silence === 'slow') {
      if (counts) this.#slow++
      const forMs = Math.min(pauseMs * 2 ** Math.max(this.#slow - 1, 0), slowPauseMsMax)
      this.#state = { is: 'paused', untilMs: now + forMs, hopeful: true }
      return blame
    }
    if (counts) this.#strikes++
    if (this.#strikes >= strikesMax || silence === 'dead') {
      this.#state = { is: 'dropped', code }
    } else {
      const untilMs = now + pauseMs * 2 ** Math.max(this.#strikes - 1, 0)
      this.#state = { is: 'paused', untilMs, hopeful: silence === undefined }
    }
    return blame
  }

  /** It did what it was asked: failures are not in a row any more. */
  onSuccess(): void {
    this.#strikes = 0
    this.#slow = 0
  }

  /** paused → live when its time is over. True when that happened. */
  thaw(now: number): boolean {
    if (this.#state.is !== 'paused' || this.#state.untilMs > now) return false
    this.#state = live
    return true
  }

  /** dropped → live, for one more chance: the scheduler named it again. False in every other state. */
  revive(): boolean {
    if (this.#state.is !== 'dropped') return false
    this.#state = live
    this.#strikes = strikesMax - 1
    return true
  }
}

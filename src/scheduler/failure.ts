import { PeerError } from '../errors.ts'
import { type RpcFailure, rpcError } from '../rpc/rpc-error.ts'

/** What a failed call to a scheduler means for the next step. */
export type SchedulerFailure =
  /** Ask the next scheduler; this one does not answer. */
  | { readonly is: 'gone'; readonly reason: string }
  /** Ask the next scheduler; this one has too much to do but is there. */
  | { readonly is: 'busy'; readonly reason: string }
  /** It does not know the host, the task or the peer. */
  | { readonly is: 'unknown'; readonly reason: string }
  /** It understood and said no; another one would say the same. */
  | { readonly is: 'refused'; readonly reason: string; readonly why: RpcFailure }

/** Sorts what a call to a scheduler failed with. Ask the own signal first. */
export function schedulerFailure(error: unknown): SchedulerFailure {
  const { is, reason } = rpcError(error)
  const meaning = meanings[is]
  return meaning === 'refused' ? { is: meaning, reason, why: is } : { is: meaning, reason }
}

const meanings: Readonly<Record<RpcFailure, SchedulerFailure['is']>> = {
  unavailable: 'gone',
  timeout: 'gone',
  exhausted: 'busy',
  'not-found': 'unknown',
  'already-exists': 'refused',
  invalid: 'refused',
  precondition: 'refused',
  forbidden: 'refused',
  unimplemented: 'refused',
  internal: 'refused',
}

/** No scheduler could be asked. */
export function unavailable(
  addresses: readonly string[],
  reason: string,
  cause?: unknown,
): PeerError<'SCHEDULER_UNAVAILABLE'> {
  return new PeerError(
    'SCHEDULER_UNAVAILABLE',
    `No scheduler can be reached: ${reason}`,
    { addresses, reason },
    { cause },
  )
}

/** A scheduler said no. */
export function refused(
  method: string,
  reason: string,
  cause?: unknown,
): PeerError<'SCHEDULER_REFUSED'> {
  return new PeerError('SCHEDULER_REFUSED', refusal(method, reason), { method, reason }, { cause })
}

/**
 * A scheduler does not take this download on. A rule of the cluster that forbids it binds this peer too; anything else leaves the download to itself. Go schedulers
 * answer FailedPrecondition for both, and only the text tells them apart (controlplane 1.5, LEVEL1).
 */
export function turnedDown(
  method: string,
  failure: SchedulerFailure,
): PeerError<'SCHEDULER_REFUSED'> {
  const { reason } = failure
  const why = failure.is === 'refused' ? failure.why : undefined
  const forbidden = why === 'forbidden' || (why === 'precondition' && /forbid/i.test(reason))
  if (!forbidden) return refused(method, reason)
  return new PeerError('SCHEDULER_REFUSED', refusal(method, reason), { method, reason, forbidden })
}

function refusal(method: string, reason: string): string {
  return `The scheduler refused ${method}: ${reason}`
}

import { Code, ConnectError } from '@connectrpc/connect'

import { type BackendDetail, backendDetail } from './backend-detail.ts'

/**
 * What a failed call means for the caller.
 *
 * - `unavailable`: not reached, connection lost, or ended by the other side; another server or a later try may work
 * - `timeout`: the deadline of the call passed
 * - `exhausted`: the server sheds load, or a message was larger than allowed; try later or elsewhere
 * - `not-found`, `already-exists`, `invalid`, `precondition`, `forbidden`, `unimplemented`: the server understood and said no
 * - `internal`: anything else, also a server's own failure
 */
export type RpcFailure =
  | 'unavailable'
  | 'timeout'
  | 'exhausted'
  | 'not-found'
  | 'already-exists'
  | 'invalid'
  | 'precondition'
  | 'forbidden'
  | 'unimplemented'
  | 'internal'

/** A failed call, sorted. */
export interface RpcError {
  readonly is: RpcFailure
  /** Text of the server or of the connection, without a code before it. */
  readonly reason: string
  /** What the origin answered, if a daemon passed that on. */
  readonly backend?: BackendDetail
}

const failures: Readonly<Record<Code, RpcFailure>> = {
  [Code.Canceled]: 'unavailable',
  [Code.Unknown]: 'internal',
  [Code.InvalidArgument]: 'invalid',
  [Code.DeadlineExceeded]: 'timeout',
  [Code.NotFound]: 'not-found',
  [Code.AlreadyExists]: 'already-exists',
  [Code.PermissionDenied]: 'forbidden',
  [Code.ResourceExhausted]: 'exhausted',
  [Code.FailedPrecondition]: 'precondition',
  [Code.Aborted]: 'unavailable',
  [Code.OutOfRange]: 'invalid',
  [Code.Unimplemented]: 'unimplemented',
  [Code.Internal]: 'internal',
  [Code.Unavailable]: 'unavailable',
  [Code.DataLoss]: 'internal',
  [Code.Unauthenticated]: 'forbidden',
}

/** How Node's errors of a broken connection begin. Connect passes most of them on as `Internal`. */
const connectionError = /^(E[A-Z]+|ERR_HTTP2_.*|ERR_STREAM_.*|ERR_SSL_.*|ERR_TLS_.*|.*CERT.*)$/

/**
 * Sorts what a call failed with.
 *
 * Ask your own signal first: when it has fired, its reason is the answer. A `Canceled` that is left then came from the other side or a
 * broken connection, and counts as `unavailable`.
 */
export function rpcError(error: unknown): RpcError {
  const connectError = ConnectError.from(error)
  const backend = backendDetail(connectError)
  return {
    is: isConnectionLost(error) ? 'unavailable' : failures[connectError.code],
    reason: connectError.rawMessage,
    ...(backend === undefined ? {} : { backend }),
  }
}

/** Looks through at most 8 causes. */
function isConnectionLost(error: unknown): boolean {
  let at = error
  for (let depth = 0; depth < 8 && at instanceof Error; depth++) {
    const code = 'code' in at ? at.code : undefined
    if (typeof code === 'string' && connectionError.test(code)) return true
    at = at.cause
  }
  return false
}

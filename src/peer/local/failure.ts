import { Code, ConnectError } from '@connectrpc/connect'
import { type ErrorCode, PeerError } from '../../errors.ts'
import { backendError } from '../../rpc/backend-detail.ts'

/** What a code is on the wire. `origin`: the tools look for the origin's answer in the details (controlplane 6.6). */
const codes: Readonly<Partial<Record<ErrorCode, Code | 'origin'>>> = {
  INVALID_URL: Code.InvalidArgument,
  UNKNOWN_SCHEME: Code.InvalidArgument,
  ORIGIN_NOT_FOUND: 'origin',
  ORIGIN_FORBIDDEN: 'origin',
  ORIGIN_UNAVAILABLE: 'origin',
  ORIGIN_UNREACHABLE: 'origin',
  ORIGIN_REDIRECT: 'origin',
  ORIGIN_TLS: 'origin',
  ORIGIN_PROTOCOL: 'origin',
  ORIGIN_CHANGED: 'origin',
  FOREIGN: 'origin',
  RANGE_NOT_SATISFIABLE: Code.FailedPrecondition,
  DIGEST_MISMATCH: Code.DataLoss,
  NO_PARENTS: Code.Unavailable,
  TASK_NOT_FOUND: Code.NotFound,
  SCHEDULER_UNAVAILABLE: Code.Unavailable,
  SCHEDULER_REFUSED: Code.FailedPrecondition,
  TOO_LARGE: Code.ResourceExhausted,
  NO_SPACE: Code.ResourceExhausted,
  LIMIT_REACHED: Code.ResourceExhausted,
  OUTPUT_EXISTS: Code.AlreadyExists,
  PERMISSION_DENIED: Code.PermissionDenied,
  NOT_PERMITTED: Code.PermissionDenied,
  FILE_NOT_FOUND: Code.NotFound,
  FILE_CHANGED: Code.Aborted,
  CLOSED: Code.Unavailable,
}

/** A failure as a tool of this user sees it. Paths are in it, as the tool named them; credentials never are. */
export function localFailure(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error
  if (!PeerError.is(error)) return new ConnectError('The peer failed', Code.Internal)
  const code = codes[error.code] ?? Code.Internal
  const text = textOf(error)
  if (code !== 'origin') return new ConnectError(text, code)
  const { status } = error.details as { readonly status?: number }
  return backendError({
    message: text,
    header: {},
    ...(status === undefined ? {} : { statusCode: status }),
  })
}

function textOf({ message, details }: PeerError): string {
  const { path } = details as { readonly path?: unknown }
  if (typeof path !== 'string' || path === '' || message.includes(path)) return message
  return `${message}: ${path}`
}

/** What a local caller would get as a `TypeError` or `RangeError` is the tool's fault here. */
export function checked<T>(parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw invalid(error.message)
    throw localFailure(error)
  }
}

/** The request cannot be meant. */
export function invalid(message: string): ConnectError {
  return new ConnectError(message, Code.InvalidArgument)
}

/** The request is sensible and this peer cannot do it. */
export function unsupported(message: string): ConnectError {
  return new ConnectError(message, Code.Unimplemented)
}

/** Faults of an exchange that Node has no code for, with the words that an error tells them in. */
export const faultReasons = {
  CONNECT_TIMEOUT: 'connect timeout',
  HEADERS_TIMEOUT: 'headers timeout',
  IDLE_TIMEOUT: 'idle timeout',
  CONNECTION_CLOSED: 'connection closed',
  ORIGINS_MAX: 'too many origins',
  SOURCE_CLOSED: 'source closed',
  STALE_CONNECTION: 'connection closed',
  STRAY_BYTES: 'bytes behind another answer',
} as const

/** See `faultReasons`. */
export type FaultCode = keyof typeof faultReasons

/** What went wrong below the engine, beside the errors of Node. It is told as a `PeerError` (`http-failure.ts`). */
export class HttpFault extends Error {
  readonly code: FaultCode

  constructor(code: FaultCode, cause?: unknown) {
    super(faultReasons[code], cause === undefined ? undefined : { cause })
    this.name = 'HttpFault'
    this.code = code
  }
}

/** Node tells of a connection that the other side ended as of one that it reset, but that no call of the system failed. */
export function connectionFault(error: Error): Error {
  return isReset(error) && !('syscall' in error) ? new HttpFault('CONNECTION_CLOSED', error) : error
}

/** Whether Node's parser met something that is no HTTP; not that the connection ended too early. */
export function isUnparsable(error: Error): boolean {
  return 'code' in error && /^HPE_(?!INVALID_EOF_STATE$)/.test(String(error.code))
}

/** Whether the other side has closed the connection. */
export function isReset(error: Error): boolean {
  return 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
}

import { PeerError } from '../errors.ts'

/** What was being done when a system call failed. */
export interface Attempt {
  /** The path that the caller knows: what the error names. */
  readonly path: string
  /** System call or step, for `STORE_FAILED`. */
  readonly operation: string
  /** Bytes that were to be written. */
  readonly needed?: number
  /** The path is where an output is to stand, so a file there is its caller's business. */
  readonly output?: boolean
}

/** The code that the operating system gave, for example `ENOSPC`; undefined when the error is none of its own. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || PeerError.is(error)) return undefined
  const { code } = error as NodeJS.ErrnoException
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined
}

/**
 * What to throw for a failed system call: the one place where errno becomes a code of ours. Anything that is no errno, so also a reason to
 * abort and an error that was turned already, comes back as it is.
 */
export function storeError(cause: unknown, attempt: Attempt): unknown {
  const errno = errnoOf(cause)
  if (errno === undefined) return cause
  const { path, operation } = attempt
  switch (errno) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new PeerError(
        'NO_SPACE',
        `No room on the disk for ${path}`,
        { path, needed: attempt.needed ?? 0 },
        { cause },
      )
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new PeerError('PERMISSION_DENIED', `No permission for ${path}`, { path }, { cause })
    case 'ENOENT':
    case 'ENOTDIR':
      return new PeerError('FILE_NOT_FOUND', `There is no ${path}`, { path }, { cause })
    case 'EEXIST':
      if (attempt.output === true) return outputExists(path, cause)
  }
  return new PeerError(
    'STORE_FAILED',
    `The store cannot ${operation} ${path}: ${errno}`,
    { path, operation, errno },
    { cause },
  )
}

/** The error for a path that is taken. */
export function outputExists(path: string, cause?: unknown): PeerError<'OUTPUT_EXISTS'> {
  return new PeerError('OUTPUT_EXISTS', `A file stands at ${path} already`, { path }, { cause })
}

/** Awaits `work` and turns the error of a failed system call. */
export async function withErrno<T>(attempt: Attempt, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw storeError(error, attempt)
  }
}

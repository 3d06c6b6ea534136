import { getSystemErrorName } from 'node:util'
import type { FlowDone } from './flow.ts'

/** Fewer bytes are not worth the way through another thread. */
export const moveBytesMin: number = 128 * 1024

/** What came of moving bytes. */
export interface Moved {
  /** Bytes that were moved. */
  readonly count: number
  /** Whether the file failed, and with what. */
  readonly fileError: Error | undefined
  /** Whether the socket failed, or could not be used. It shows the reason to those who use it next. */
  readonly socketFailed: boolean
}

/**
 * Runs a transfer of the addon. Resolves when nothing is read or written any more.
 *
 * @param begin - starts it; the number that it has
 * @param cancel - ends the transfer of that number
 * @throws the reason of `signal`, when it has ended; what `begin` throws
 */
export async function move(
  begin: (done: FlowDone) => number,
  cancel: (id: number) => void,
  signal: AbortSignal,
  onCount?: (count: number) => void,
): Promise<Moved> {
  signal.throwIfAborted()
  let stop: (() => void) | undefined
  try {
    const moved = await new Promise<Moved>((resolve) => {
      const id = begin((count, socketError, fileError) => {
        resolve({ count, fileError: errorOf(fileError), socketFailed: socketError !== 0 })
      })
      stop = () => cancel(id)
      signal.addEventListener('abort', stop, { once: true })
    })
    onCount?.(moved.count)
    signal.throwIfAborted()
    return moved
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop)
  }
}

/** As `node:fs` would say it. */
function errorOf(errno: number): Error | undefined {
  if (errno === 0) return undefined
  const code = getSystemErrorName(-errno)
  return Object.assign(new Error(`${code}: the file failed`), { errno: -errno, code })
}

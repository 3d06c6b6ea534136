import { stat } from 'node:fs/promises'
import { PeerError } from '../errors.ts'
import type { Xxhash } from '../hash/xxhash.ts'
import { type Geometry, geometry } from '../task/piece.ts'
import type { Clock } from '../util/clock.ts'
import { abortable } from '../util/scope.ts'
import { withErrno } from './errno.ts'
import { OpenFile, readFlags, sameStamp, settled, type Stamp, stampStepMs } from './open-file.ts'
import { type PieceSums, sumPieces } from './piece-check.ts'
import type { SlabPool } from './slabs.ts'

/** What is needed to read a file that is to be adopted. */
export interface AdoptionHost {
  readonly clock: Clock
  readonly readSlabs: SlabPool
  readonly xxhash: Xxhash
}

/** A file of the application, and what its pieces are as long as it has this stamp. */
export interface Adopted {
  readonly cut: Geometry
  readonly stamp: Stamp
  readonly sums: PieceSums[]
}

/** How often a file that was written just now is given time to settle. */
const settleCountMax = 4

/**
 * Reads a file once and digests its pieces.
 *
 * @throws PeerError FILE_NOT_FOUND, PERMISSION_DENIED, FILE_CHANGED, STORE_FAILED; RangeError when it has too many pieces
 */
export async function readAdopted(
  host: AdoptionHost,
  file: { readonly task: string; readonly path: string; readonly pieceLength: number },
  signal: AbortSignal,
): Promise<Adopted> {
  const { path, task } = file
  const found = await withErrno({ path, operation: 'stat' }, stat(path))
  if (!found.isFile()) {
    const errno = found.isDirectory() ? 'EISDIR' : 'EINVAL'
    throw new PeerError('STORE_FAILED', `${path} is no regular file`, {
      path,
      operation: 'adopt',
      errno,
    })
  }
  const opened = await OpenFile.open(path, readFlags)
  try {
    const before = await settledStamp(opened, host.clock, signal)
    const cut = geometry(Number(before.size), file.pieceLength)
    const sums = await sumPieces(
      opened,
      cut,
      { slabs: host.readSlabs, xxhash: host.xxhash },
      signal,
    )
    if (sums === undefined || !sameStamp(before, opened.stamp())) {
      throw new PeerError('FILE_CHANGED', `${path} changed while it was read`, { path, task })
    }
    return { cut, stamp: before, sums }
  } finally {
    await opened.close()
  }
}

/** A file that was written within this step of the clock could be written again without a trace, so that step is waited out. */
async function settledStamp(file: OpenFile, clock: Clock, signal: AbortSignal): Promise<Stamp> {
  for (let count = 0; count < settleCountMax; count++) {
    const stamp = file.stamp()
    if (settled(stamp, clock.date())) return stamp
    // Not `clock.after()`, whose timers let the process exit: somebody waits for this one.
    await abortable(new Promise((resolve) => setTimeout(resolve, stampStepMs + 1)), signal)
  }
  return file.stamp()
}

import { PeerError } from '../errors.ts'
import type { Progress } from '../task/progress.ts'
import type { DownloadProgress, TaskInfo, Traffic } from './options.ts'
import type { Opened } from './tasks.ts'

/** Tells the caller; what its function throws is its fault, and is said so. */
export function report(
  call: ((progress: DownloadProgress) => void) | undefined,
  progress: DownloadProgress,
): void {
  try {
    call?.(progress)
  } catch (cause) {
    const details = { where: 'options.onProgress', reason: String(cause) }
    throw new PeerError('FOREIGN', 'options.onProgress threw', details, { cause })
  }
}

/** The counts of a download that found everything here. */
export function allLocal({ spec, task }: Opened, bytes: number): DownloadProgress {
  const pieces = task.geometry.pieceCount
  const traffic = { source: 0, peers: 0, local: bytes }
  return { task: spec.id, bytes, bytesTotal: bytes, pieces, piecesTotal: pieces, traffic }
}

/** The engine's counts in the words of the public face. */
export function shown(task: string, progress: Progress): DownloadProgress {
  return {
    task,
    bytes: progress.bytesKept,
    bytesTotal: progress.bytesTotal,
    pieces: progress.piecesKept,
    piecesTotal: progress.piecesTotal,
    traffic: {
      source: progress.sourceBytes,
      peers: progress.peerBytes,
      local: progress.localBytes,
    },
  }
}

/** What a finished download says of its task. */
export function infoOf({ spec, task }: Opened, traffic: Traffic): TaskInfo {
  return {
    id: spec.id,
    kind: spec.kind,
    length: task.geometry.contentLength,
    pieceLength: task.geometry.pieceLength,
    pieces: task.geometry.pieceCount,
    traffic,
    ...(spec.digest === undefined ? {} : { digest: spec.digest }),
  }
}

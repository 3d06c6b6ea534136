import { join } from 'node:path'
import type { DownloadOptions } from '../../../src/index.ts'
import { downloadSettings } from '../../../src/peer/download-settings.ts'
import type { Ending } from '../../support/cleanup.ts'
import type { Origin } from '../../support/origin.ts'
import { tempFolder } from '../../support/temp-folder.ts'
import { verifyFile } from '../../support/verify.ts'
import type { DaemonProgram, DaemonTraffic } from './daemon-program.ts'
import { type DfgetOptions, dfget } from './tool.ts'

/** The id of the task that a URL names, as a peer of ours computes it. */
export function taskIdOf(url: string, options: DownloadOptions = {}): string {
  return downloadSettings(url, options).spec.id
}

/**
 * Lets a daemon fetch what an origin serves, checks every byte of the output, and says where the bytes came from by the daemon's count. No other download may run
 * at this daemon meanwhile.
 */
export async function fetchWithDfget(
  t: Ending,
  daemon: DaemonProgram,
  served: Origin,
  options: Omit<DfgetOptions, 'output'> = {},
): Promise<DaemonTraffic> {
  const output = join(tempFolder(t), 'output')
  const before = await daemon.traffic()
  await dfget(t, daemon.socketPath, served.url, { output, ...options }).done()
  const after = await daemon.traffic()
  await verifyFile(output, served.content)
  return {
    source: after.source - before.source,
    peers: after.peers - before.peers,
    local: after.local - before.local,
  }
}

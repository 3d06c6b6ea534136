import { join } from 'node:path'
import type { PeerOptions } from '../../../../src/index.ts'
import type { Ending } from '../../../support/cleanup.ts'
import { tempFolder } from '../../../support/temp-folder.ts'
import { Far } from './far.ts'
import { ends, gidIndex, slowness } from './machine.ts'
import type { PeerCommands } from './peer-end.ts'

/** The defaults, for an emulated processor. */
const parentsTimeoutMs = 10_000 * slowness
const stallTimeoutMs = 1500 * slowness

/** A peer in a process of its own, at one end of the cable. Its scheduler's address is what others join by. */
export interface RdmaPeer {
  readonly far: Far<PeerCommands>
  readonly schedulerAddress: string
}

/** Starts a peer that prefers RDMA. `command` starts its process in another way. */
export async function rdmaPeer(
  t: Ending,
  end: keyof typeof ends,
  options: PeerOptions = {},
  command: readonly string[] = [],
): Promise<RdmaPeer> {
  const { ip, device } = ends[end]
  const far = new Far<PeerCommands>(t, new URL('./peer-end.js', import.meta.url), command)
  const store = { dir: join(tempFolder(t), 'store') }
  const schedulerAddress = await far.ask('start', {
    options: { host: { ip }, store, ...options, limits: { parentsTimeoutMs, ...options.limits } },
    rdma: { device, gidIndex, stallTimeoutMs },
  })
  return { far, schedulerAddress }
}

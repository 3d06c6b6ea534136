/**
 * How to write a case of the matrix. Take a file of `test/interop`, or make one; it runs only by `npm run test:interop`.
 *
 * ```ts
 * const site = sharedSite({ daemons: 2 })                         // once per file: a daemon takes five seconds to start
 *
 * matrixTest(1, '4 MiB + 1 from one real daemon', async (t, facts) => {
 *   const served = await origin(t, { length, seed: 5 })           // new content has a new URL, so a new task
 *   await dfget(t, site().daemon(0).socketPath, served.url, { output: site().path('a') }).done()
 *   const peer = await site().peer(t)                             // ours, in this process; site().peerProcess(t) in another one
 *   const info = await facts.time(() => peer.download(served.url).toFile(site().path('b')))
 *   assert.equal(info.traffic.peers, length)                      // and verifyFile() for the bytes
 *   facts.origin(served)                                          // for the table at the end of the run
 *   facts.traffic('ours', info.traffic)
 * })
 * ```
 *
 * To know: the scheduler uses a seed only after its next look for seeds (`site.scheduler.untilSeedsAreKnown()`, up to 32 s). Real clients take files and ranges up to
 * 4 MiB from the origin without asking the scheduler, unless the origin is forbidden. `daemon.pieces(task)` tells from whom a daemon had each piece, `daemon.traffic()` how
 * many bytes of which kind; `heard(t, 'dragonfly-peer:piece:served')` what we gave. `program.kill()`, `pause()`, `resume()` and `restart()` are for failures.
 */
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { before } from 'node:test'
import { Peer, type PeerOptions } from '../../../src/index.ts'
import { PeerProcess } from '../../e2e/support/peer-process.ts'
import { cleanup, type Ending } from '../../support/cleanup.ts'
import { tempFolder } from '../../support/temp-folder.ts'
import { DaemonProgram, type DaemonProgramOptions } from './daemon-program.ts'
import { fileEnding } from './file-ending.ts'
import { SchedulerProgram, type SchedulerProgramOptions } from './scheduler-program.ts'

/** What a site consists of. */
export interface SiteOptions {
  readonly scheduler?: SchedulerProgramOptions
  /** How many, or each with its options. @defaultValue `0` */
  readonly daemons?: number | readonly DaemonProgramOptions[]
}

/** A site for all tests of a file, started before the first. Call it at the top of the file. */
export function sharedSite(options: SiteOptions = {}): () => Site {
  const ending = fileEnding()
  let site: Site | undefined
  before(async () => {
    site = await Site.start(ending, options)
  })
  return () => {
    if (site === undefined) throw new Error('The site is not there before the first test')
    return site
  }
}

/** A real scheduler, real daemons, and a place for peers of ours. Everything ends with the test. */
export class Site {
  readonly scheduler: SchedulerProgram
  readonly daemons: readonly DaemonProgram[]
  /** For outputs; removed at the end. */
  readonly folder: string

  private constructor(
    scheduler: SchedulerProgram,
    daemons: readonly DaemonProgram[],
    folder: string,
  ) {
    this.scheduler = scheduler
    this.daemons = daemons
    this.folder = folder
  }

  /** Starts the scheduler, then all daemons together. */
  static async start(t: Ending, options: SiteOptions = {}): Promise<Site> {
    const folder = tempFolder(t)
    const scheduler = await SchedulerProgram.start(t, options.scheduler)
    const { daemons = 0 } = options
    const each = typeof daemons === 'number' ? Array.from({ length: daemons }, () => ({})) : daemons
    const started = each.map(async (one) =>
      DaemonProgram.start(t, { schedulers: [scheduler.address], ...one }),
    )
    return new Site(scheduler, await Promise.all(started), folder)
  }

  /** One of the daemons. */
  daemon(at: number): DaemonProgram {
    const daemon = this.daemons[at]
    if (daemon === undefined) throw new RangeError(`There are ${this.daemons.length} daemons`)
    return daemon
  }

  /** One more daemon. */
  async addDaemon(t: Ending, options: DaemonProgramOptions = {}): Promise<DaemonProgram> {
    return DaemonProgram.start(t, { schedulers: [this.scheduler.address], ...options })
  }

  /** A peer of ours in this process, destroyed at the end of the test. Its store lies in a folder of the test. */
  async peer(t: Ending, options: PeerOptions = {}): Promise<Peer> {
    const { address: scheduler } = this.scheduler
    const peer = await Peer.start({ scheduler, store: { dir: tempFolder(t) }, ...options })
    cleanup(t, () => peer.destroy())
    return peer
  }

  /** A peer of ours in a process of its own. */
  async peerProcess(t: Ending, options: PeerOptions = {}): Promise<PeerProcess> {
    return PeerProcess.start(t, { scheduler: this.scheduler.address, ...options })
  }

  /** A path for an output that nobody else uses. */
  path(name: string): string {
    return join(mkdtempSync(join(this.folder, 'out-')), name)
  }
}

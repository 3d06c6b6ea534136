import type { Run } from '../task/run.ts'
import type { Share } from '../task/share.ts'
import type { Clock } from '../util/clock.ts'
import { Live } from './live.ts'
import { type MeteredGate, usableRate } from './metered-gate.ts'
import type { DownloadLimits, PeerLimits } from './options.ts'
import { Pace } from './pace.ts'

/** What the limits of a run stand on. */
export interface RunLimitsWorld {
  readonly clock: Clock
  readonly limits: Live<PeerLimits>
  readonly downloadGate: MeteredGate
}

/** Without limits of its own. */
const free: DownloadLimits = Object.freeze({
  concurrency: undefined,
  downloadBytesPerSecond: undefined,
})

/**
 * The limits of one run: those of the downloads that share it, within those of the peer. The bytes come once for all of them, so the download that allows most
 * decides.
 */
export class RunLimits {
  /** The bandwidth. */
  readonly pace: Pace
  readonly #peer: Live<PeerLimits>
  readonly #downloads = new Set<{ readonly limits: Live<DownloadLimits> }>()
  readonly #stop: () => void
  #run: Pick<Run, 'setConcurrency'> | undefined

  constructor({ clock, limits, downloadGate }: RunLimitsWorld) {
    this.#peer = limits
    this.pace = new Pace(downloadGate, clock)
    this.#stop = limits.onChange(() => this.#apply())
  }

  /** Pieces that may be fetched at once; undefined when no download takes part. */
  get concurrency(): number | undefined {
    if (this.#downloads.size === 0) return undefined
    const { concurrency } = this.#peer.now
    return Math.max(...this.#each().map((each) => each.concurrency ?? concurrency))
  }

  /** A download takes part from now on. The returned function ends that. */
  join(limits: Live<DownloadLimits> = new Live(free)): () => void {
    const download = { limits }
    this.#downloads.add(download)
    const stop = limits.onChange(() => this.#apply())
    this.#apply()
    return () => {
      stop()
      if (this.#downloads.delete(download)) this.#apply()
    }
  }

  /** As `join`, for as long as this share takes part in the run. */
  joinFor(share: Pick<Share, 'done'>, limits: Live<DownloadLimits> | undefined): void {
    const leave = this.join(limits)
    share.done.then(leave, leave)
  }

  /** From now on this run keeps to the limits, until it ends. */
  rule(run: Pick<Run, 'setConcurrency' | 'ended'>): void {
    this.#run = run
    void run.ended.then(() => this.close())
  }

  /** Changes are of no interest any more. */
  close(): void {
    this.#stop()
    this.#run = undefined
  }

  #apply(): void {
    this.pace.changed()
    const { concurrency } = this
    if (concurrency === undefined) return
    this.#run?.setConcurrency(concurrency)
    const rates = this.#each().map((each) => each.downloadBytesPerSecond)
    const set = rates.filter((rate) => rate !== undefined)
    this.pace.setRate(set.length < rates.length ? undefined : usableRate(Math.max(...set)))
  }

  #each(): DownloadLimits[] {
    return [...this.#downloads].map(({ limits }) => limits.now)
  }
}

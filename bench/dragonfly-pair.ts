import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Ending } from '../test/support/cleanup.ts'
import { DaemonProgram } from '../test/interop/support/daemon-program.ts'
import { SchedulerProgram } from '../test/interop/support/scheduler-program.ts'
import { dfget } from '../test/interop/support/tool.ts'
import type { Sample } from './interleaved.ts'
import { cpuSecondsOfEnded, Meter } from './meter.ts'
import type { Served } from './reference.ts'

/** The real scheduler and two real daemons: one has content, the other gets it for `dfget`. */
export class DragonflyPair {
  readonly #t: Ending
  readonly #scheduler: SchedulerProgram
  readonly #parent: DaemonProgram
  readonly #child: DaemonProgram
  readonly #origin: Served
  readonly #length: number
  #runs = 0

  private constructor(
    t: Ending,
    scheduler: SchedulerProgram,
    [parent, child]: readonly [DaemonProgram, DaemonProgram],
    origin: Served,
    length: number,
  ) {
    this.#t = t
    this.#scheduler = scheduler
    this.#parent = parent
    this.#child = child
    this.#origin = origin
    this.#length = length
  }

  /** Starts all of it. @param origin - of the content, from which the first daemon has it */
  static async start(t: Ending, origin: Served, source: string): Promise<DragonflyPair> {
    const scheduler = await SchedulerProgram.start(t)
    // As in production: at the level that tests need it writes several lines for each piece.
    const options = { schedulers: [scheduler.address], logLevel: 'info' } as const
    const daemons = await Promise.all([
      DaemonProgram.start(t, options),
      DaemonProgram.start(t, options),
    ])
    // Asked to end they take ten seconds, and nothing of theirs is needed again.
    t.after(async () => {
      for (const { program } of [...daemons, scheduler]) await program.kill()
    })
    return new DragonflyPair(t, scheduler, daemons, origin, statSync(source).size)
  }

  /** Of the scheduler. */
  get scheduler(): string {
    return this.#scheduler.address
  }

  /** `dfget` gets a content that only the first daemon has, and both forget it. Its own processor time counts: it is a part of the same job. */
  async download(): Promise<Sample> {
    this.#runs += 1
    const url = `http://127.0.0.1:${this.#origin.port}/run-${this.#runs}`
    const [parent, child] = [this.#parent, this.#child]
    const before = join(parent.folder, 'output')
    await dfget(this.#t, parent.socketPath, url, { output: before }).done()
    const output = join(child.folder, 'output')
    const meter = new Meter([parent.program.pid, child.program.pid])
    const childMeter = new Meter([child.program.pid])
    childMeter.resetPeaks()
    const used = (): number => meter.cpuSeconds() + cpuSecondsOfEnded()
    const cpuBefore = used()
    const tool = dfget(this.#t, child.socketPath, url, { output, backToSource: false })
    const { tookMs } = await tool.done()
    const cpuSeconds = used() - cpuBefore
    const peakBytes = childMeter.peakBytes()
    if (statSync(output).size !== this.#length) throw new Error('dfget wrote another length')
    for (const path of [before, output]) rmSync(path)
    for (const { folder } of [parent, child]) forget(join(folder, 'storage'))
    return { bytes: this.#length, seconds: tookMs / 1000, cpuSeconds, peakBytes }
  }
}

/** Removes content, not what is known of it: nobody asks for it again, and it must not be written back while the next run is measured. */
function forget(storage: string): void {
  for (const entry of readdirSync(storage, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile() && /^[0-9a-f]{64}$/.test(entry.name)) rmSync(path)
  }
}

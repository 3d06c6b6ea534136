/** A parent stops to answer without a word, as a machine does that loses its network: its process is stopped, its connections stay. */
import type { Benchmark } from './benchmark.ts'
import { runsOf } from './interleaved.ts'
import { sourceFile } from './source-file.ts'
import { bounded, mebibyte } from './statistics.ts'
import { Swarm } from './swarm.ts'

const length = { thorough: 256 * mebibyte, quick: 64 * mebibyte }
/** Seconds until another parent is asked. */
const secondsMax = 2

/**
 * A child downloads from two parents; one of them stops when the first piece has come, with several pieces under way. What is measured is the time from then to the
 * end of the whole download, so the transfer of all other pieces is in it.
 */
export const silentParent: Benchmark = {
  name: 'silent-parent',
  about: 'a parent falls silent in the middle of a download',
  run: async (settings) => {
    const bytes = settings.bytes ?? (settings.quick ? length.quick : length.thorough)
    const source = sourceFile(settings, bytes)
    await using swarm = await Swarm.start(settings, { parents: 2, source })
    const undisturbed = await swarm.download('file')
    const seconds: number[] = []
    // The first parent has the scheduler, so the second one it is.
    const silent = swarm.parents[1]
    // A quick run has seconds for all of it.
    const runs = settings.quick ? 1 : runsOf(settings)
    for (let run = 0; run < runs; run += 1) {
      let stoppedAt = 0
      await swarm.download('file', {
        onBegun: () => {
          silent?.signal('SIGSTOP')
          stoppedAt = performance.now()
        },
        onEnd: () => {
          seconds.push((performance.now() - stoppedAt) / 1000)
          silent?.signal('SIGCONT')
        },
      })
      settings.say(`${seconds.at(-1)?.toFixed(2)} s after the parent fell silent`)
    }
    return [
      bounded({
        name: 'silent parent: until all is there from another one',
        unit: 's',
        values: seconds,
        max: secondsMax,
        note: `from the stop of the parent to the end of the download, which takes ${undisturbed.seconds.toFixed(2)} s when no parent stops`,
      }),
    ]
  },
}

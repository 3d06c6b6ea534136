/**
 * A swarm under load for a long time: downloads in every form, writes, seeds, deletions, cancellations, restarts of peers and of the scheduler. All content is
 * compared; memory, descriptors and timers have to stay flat after the warm-up.
 *
 *   npm run test:soak                          5 minutes, with a seed by chance
 *   npm run test:soak -- --minutes 60 --seed 7
 */
import { parseArgs } from 'node:util'
import type { Sample } from './figures.ts'
import { samplesLeast } from './flatness.ts'
import { soak } from './soak.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(1 + Math.floor(Math.random() * 999_999)) },
  },
})
const seed = positive('seed', values.seed)
const endsAt = performance.now() + 60_000 * positive('minutes', values.minutes)
const results = await soak(
  { seed, actsPerRound: 40, atOnce: 6, goOn: () => performance.now() < endsAt },
  (sample) => say(line(sample)),
)
const { counts, samples, verdicts, descriptors } = results
for (const { figure, first, last, perMinute, flat } of verdicts) {
  const words = flat ? 'flat' : 'GROWS'
  say(
    `${figure}: ${shown(figure, first)} → ${shown(figure, last)}, ${shown(figure, perMinute)} a minute: ${words}`,
  )
}
if (verdicts.length === 0) say(`Fewer than ${samplesLeast} samples: nothing was judged`)
const growing = verdicts.filter(({ flat }) => !flat).length
const left = descriptors.after - descriptors.before
const acts = Object.entries(counts).map(([name, times]) => `${times} ${name}`)
say(
  `${acts.join(', ')}; ${samples.length} samples, ${growing} figures grow, ${left} descriptors left, seed ${seed}`,
)
process.exitCode = growing > 0 || left > 0 ? 1 : 0

function line(sample: Sample): string {
  const { minutes, residentBytes, heapBytes, externalBytes } = sample
  const mib = [residentBytes, heapBytes, externalBytes].map((bytes) => shown('Bytes', bytes))
  return (
    `${minutes.toFixed(1)} min: resident ${mib[0]}, heap ${mib[1]}, external ${mib[2]}, ${sample.descriptors} descriptors, ` +
    `${sample.resources} resources, loop ${Math.round(sample.loopDelayMs)} ms`
  )
}

function shown(figure: string, value: number): string {
  return figure.endsWith('Bytes') ? `${(value / 2 ** 20).toFixed(1)} MiB` : value.toFixed(1)
}

function positive(name: string, value: string): number {
  const number = Number(value)
  if (!(number > 0)) throw new RangeError(`--${name} must be a number above 0, got ${value}`)
  return number
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

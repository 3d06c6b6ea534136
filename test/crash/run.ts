/**
 * Kills processes that work with a store or a peer, at random moments and at every point at which they touch the disk, and looks at what they leave.
 *
 *   npm run test:crash                          3 000 trials with a seed by chance
 *   npm run test:crash -- --trials 100 --seed 7
 *   npm run test:crash -- --only 'rename journal.new'    points whose name has this in it
 *   npm run test:crash -- --seed 7 --chain 12            one chain of lives again
 *   npm run test:crash -- --list                         how often each point was a target
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { runTrials } from './trials.ts'
import type { WrongKind } from './wrong.ts'

const { values } = parseArgs({
  options: {
    trials: { type: 'string', default: '3000' },
    seed: { type: 'string', default: String(1 + Math.floor(Math.random() * 999_999)) },
    jobs: { type: 'string', default: String(Math.min(availableParallelism(), 4)) },
    only: { type: 'string' },
    chain: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
})
const begun = performance.now()
const seed = whole('seed', values.seed)
const results = await runTrials(
  {
    trials: whole('trials', values.trials),
    seed,
    jobs: whole('jobs', values.jobs),
    ...(values.only === undefined ? {} : { only: values.only }),
    ...(values.chain === undefined ? {} : { chain: whole('chain', values.chain) }),
  },
  say,
)
if (values.list) for (const [point, count] of results.points) say(`${count} × ${point}`)
const of = (kind: WrongKind): number =>
  results.failures.filter((failure) => failure.kind === kind).length
const targets = [...results.points.values()].filter((count) => count > 0).length
say(
  `${results.trials} trials in ${Math.round((performance.now() - begun) / 1000)} s, seed ${seed}: ` +
    `${results.pieces} pieces compared, ${targets} of ${results.points.size} points targeted, ` +
    `${of('wrong bytes')} wrong bytes, ${of('lost pieces')} lost pieces, ` +
    `${of('unusable store')} unusable stores, ${of('leak of space')} leaks of space, ` +
    `${of('fault of a life')} other failures`,
)
process.exitCode = results.failures.length > 0 ? 1 : 0

function whole(name: string, value: string): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 0) {
    throw new RangeError(`--${name} must be a whole number, got ${value}`)
  }
  return number
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

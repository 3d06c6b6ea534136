import { parseArgs } from 'node:util'

/** What `npm run test:sim` is asked for. */
export interface SimOptions {
  /** The first swarm; the others follow it. */
  readonly seed: number
  readonly count: number
  /** Tells everything that happens. */
  readonly verbose: boolean
  readonly workers: number
}

/** Swarms in a whole run. */
const countDefault = 10_000

/** Reads the command line. @throws TypeError, RangeError */
export function simOptions(args: readonly string[], random: () => number): SimOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string', default: '1' },
      count: { type: 'string' },
      only: { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
      workers: { type: 'string', default: '2' },
    },
  })
  const seed = values.seed === 'random' ? Math.floor(random() * 1e9) : number('seed', values.seed)
  const count = values.only ? 1 : number('count', values.count ?? String(countDefault))
  const { verbose } = values
  return { seed, count, verbose, workers: number('workers', values.workers) }
}

function number(name: string, text: string): number {
  const value = Number(text)
  if (text === '' || !Number.isSafeInteger(value) || value < 1 || value >= 2 ** 32) {
    throw new RangeError(`--${name} must be a whole number from 1 on, got ${text}`)
  }
  return value
}

/**
 * Feeds every decoder with changed valid input and with random bytes, for a while.
 *
 *   npm run test:fuzz                           a minute, with a seed by chance
 *   npm run test:fuzz -- --seconds 600 --seed 7
 *   npm run test:fuzz -- --only vortex          targets whose name has this in it
 *   npm run test:fuzz -- --only 'vortex answer' --input 123456    one input again, as a failure prints it
 */
import { parseArgs } from 'node:util'
import { Random } from '../crash/random.ts'
import { garbage, mutated } from './mutation.ts'
import { run, type Target } from './target.ts'
import { targets } from './targets.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(1 + Math.floor(Math.random() * 999_999)) },
    only: { type: 'string', default: '' },
    input: { type: 'string' },
  },
})
const seed = whole('seed', values.seed)
const chosen = targets.filter(({ name }) => name.includes(values.only))
if (chosen.length === 0) throw new RangeError(`No target is named ${values.only}`)
const counts = { inputs: 0, bytes: 0, failures: 0 }
const begun = performance.now()

if (values.input === undefined) {
  const endsAt = begun + 1000 * whole('seconds', values.seconds)
  const failed = new Set<Target>()
  for (let round = 0; performance.now() < endsAt && failed.size < chosen.length; round++) {
    // A number of its own for each input, by which it can be made again.
    const inputSeed = (Math.imul(seed, 0x9e37_79b1) + round) >>> 0
    for (const target of chosen) {
      if (!failed.has(target) && !feed(target, inputSeed)) failed.add(target)
    }
  }
} else {
  for (const target of chosen) feed(target, whole('input', values.input))
}
const tookS = Math.round((performance.now() - begun) / 1000)
say(
  `${counts.inputs} inputs of ${counts.bytes} bytes to ${chosen.length} decoders in ${tookS} s, seed ${seed}: ${counts.failures} failures`,
)
process.exitCode = counts.failures > 0 ? 1 : 0

/** One input; says how it can be made again when it fails. */
function feed(target: Target, inputSeed: number): boolean {
  const random = new Random(inputSeed)
  const bytes = random.oneIn(8) ? garbage(random) : mutated(target.valid(random), random)
  counts.inputs++
  counts.bytes += bytes.length
  try {
    run(target, bytes, random)
    return true
  } catch (error) {
    counts.failures++
    say(
      `${target.name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    )
    say(`  input ${Buffer.from(bytes.subarray(0, 200)).toString('base64')} (${bytes.length} bytes)`)
    say(`  again: npm run test:fuzz -- --only '${target.name}' --input ${inputSeed}`)
    return false
  }
}

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

/**
 * Plays many simulated swarms, or one.
 *
 *   npm run test:sim                                  10 000 swarms, the first of seed 1
 *   npm run test:sim -- --seed random --count 500     others, fewer
 *   npm run test:sim -- --seed 17 --only --verbose    one, with everything that happens in it
 *
 * A swarm that does not go as it should is named with the line that plays it again.
 */
import { availableParallelism } from 'node:os'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { type SimOptions, simOptions } from './swarms/options.ts'
import { type Played, play } from './swarms/play.ts'
import { scenarioOf } from './swarms/scenario.ts'
import { replayLine, Tally } from './swarms/tally.ts'

/** Swarms that a worker gets at once. */
const batch = 25

if (isMainThread) await main()
else serve()

async function main(): Promise<void> {
  const options = simOptions(process.argv.slice(2), Math.random)
  const started = performance.now()
  const tally = new Tally()
  const note = (played: Played): void => {
    tally.add(played)
    if (played.faults.length === 0) return
    console.log(`${replayLine(played.seed)}  # ${played.faults[0]}`)
    if (options.verbose) for (const fault of played.faults) console.log(`  ${fault}`)
  }
  if (options.count === 1) {
    const tell = options.verbose ? (line: string): void => console.log(line) : undefined
    note(await play(scenarioOf(options.seed), { tell }))
  } else {
    await playAll(options, note)
  }
  for (const line of tally.lines()) console.log(line)
  const tookS = (performance.now() - started) / 1000
  console.log(
    `${tally.swarms} swarms from seed ${options.seed} on, ${tally.broken} failed, ${tookS.toFixed(0)} s`,
  )
  process.exitCode = tally.broken > 0 ? 1 : 0
}

async function playAll(options: SimOptions, note: (played: Played) => void): Promise<void> {
  let next = options.seed
  const end = options.seed + options.count
  const workers = Math.min(options.workers, availableParallelism())
  await Promise.all(
    Array.from({ length: workers }, async () => {
      const worker = new Worker(new URL(import.meta.url))
      try {
        while (next < end) {
          const seeds = Array.from({ length: Math.min(batch, end - next) }, (_, at) => next + at)
          next += seeds.length
          for (const played of await ask(worker, seeds)) note(played)
        }
      } finally {
        await worker.terminate()
      }
    }),
  )
}

function ask(worker: Worker, seeds: readonly number[]): Promise<readonly Played[]> {
  return new Promise((resolve, reject) => {
    const failed = (error: unknown): void => reject(error)
    worker.once('error', failed)
    worker.once('message', (played: readonly Played[]) => {
      worker.off('error', failed)
      resolve(played)
    })
    worker.postMessage(seeds, [])
  })
}

/** A worker: plays what it is asked to. */
function serve(): void {
  const answer = async (seeds: readonly number[]): Promise<void> => {
    const all: Played[] = []
    for (const seed of seeds) all.push(await play(scenarioOf(seed)))
    parentPort?.postMessage(all, [])
  }
  parentPort?.on('message', (seeds: readonly number[]) => void answer(seeds))
}

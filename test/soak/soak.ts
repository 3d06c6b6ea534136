import { setImmediate } from 'node:timers/promises'
import { Random } from '../crash/random.ts'
import { Acts, type Counts } from './acts.ts'
import { descriptors, type Sample, Samples } from './figures.ts'
import { judged, type Verdict } from './flatness.ts'
import { SoakSwarm } from './swarm.ts'

/** How a soak is run. */
export interface SoakOptions {
  readonly seed: number
  /** Acts between two samples. */
  readonly actsPerRound: number
  /** Acts at the same time. */
  readonly atOnce: number
  /** Whether another round begins after so many. */
  readonly goOn: (rounds: number) => boolean
}

/** What it found. */
export interface SoakResults {
  readonly counts: Counts
  readonly samples: readonly Sample[]
  readonly verdicts: readonly Verdict[]
  /** Open descriptors before the first peer and after the last one. */
  readonly descriptors: { readonly before: number; readonly after: number }
}

/** Longest wait for the swarm to come to rest, in milliseconds. */
const restMsMax = 120_000

/** Runs rounds of acts on a swarm with restarts between them, and looks at the process after each. Throws for wrong bytes and for failures without an excuse. */
export async function soak(
  options: SoakOptions,
  onSample: (sample: Sample) => void = () => undefined,
): Promise<SoakResults> {
  const random = new Random(options.seed)
  const counts: Counts = {}
  // What the process opens once and keeps, such as the thread pool's own descriptors, is there before the count begins.
  await (await SoakSwarm.start()).close()
  const before = descriptors()
  const swarm = await SoakSwarm.start()
  const samples = new Samples()
  try {
    const acts = new Acts(swarm, random)
    for (let rounds = 0; options.goOn(rounds); rounds++) {
      let left = options.actsPerRound
      const worker = async (): Promise<void> => {
        while (left-- > 0) count(counts, await acts.act())
      }
      const working = Promise.all(Array.from({ length: options.atOnce }, worker))
      // It is looked at below; until then a failure of it must not end the process.
      working.catch(() => undefined)
      // Of those that work, too: downloads under way are cut, and so are their parents. The scheduler goes in every fourth round.
      const at = rounds % 4 === 3 ? 0 : 1 + random.below(swarm.peers.length - 1)
      await swarm.restart(at, random.oneIn(2))
      count(counts, at === 0 ? 'scheduler restart' : 'restart')
      await working
      await rest(swarm)
      swarm.forget()
      onSample(samples.take())
    }
  } finally {
    samples.close()
    await swarm.close()
  }
  const { list } = samples
  const after = await settled(before)
  return { counts, samples: list, verdicts: judged(list), descriptors: { before, after } }
}

function count(counts: Counts, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}

async function rest(swarm: SoakSwarm): Promise<void> {
  const deadline = performance.now() + restMsMax
  while (!swarm.atRest) {
    if (performance.now() > deadline) {
      const state = swarm.peers.map((peer) => peer.explain())
      throw new Error(`The swarm does not come to rest: ${JSON.stringify(state)}`)
    }
    await setImmediate()
  }
}

/** Descriptors after everything was closed; handles may take a moment. */
async function settled(wanted: number): Promise<number> {
  const deadline = performance.now() + 3000
  while (descriptors() > wanted && performance.now() < deadline) await setImmediate()
  return descriptors()
}

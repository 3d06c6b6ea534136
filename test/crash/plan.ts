import type { Blow, Point } from './blow.ts'
import { Random } from './random.ts'

/** One life and its end. */
export interface Trial {
  /** From 1 on. */
  readonly number: number
  readonly seed: number
  readonly blow: Blow
  /** The state that it leaves is looked at from outside before the next life; otherwise that life looks at it. */
  readonly inspected: boolean
}

/** Lives that follow each other in one folder. */
export interface Chain {
  readonly number: number
  readonly life: 'store' | 'peer'
  readonly trials: readonly Trial[]
}

/** How often each point was passed in a life to the end. */
export type Passed = ReadonlyMap<Point, number>

/** What there is to choose from. */
export interface Choices {
  readonly store: Passed
  readonly peer: Passed
  /** Kill at this point only. */
  readonly only?: string
}

/** One chain in so many is of peers: these take ten times as long. */
const peerOneIn = 10
/** A point that is passed often is hit at one of the first passings. */
const passingsMax = 12

/** Chains without end. Each follows from the seed, and the named points are taken in turn, so that all are hit. */
export function* chains(seed: number, choices: Choices): Generator<Chain, never> {
  const turns = { store: 0, peer: 0 }
  let trial = 0
  for (let number = 1; ; number++) {
    const random = new Random(seed * 1_000_003 + number)
    const life = number % peerOneIn === 0 ? 'peer' : 'store'
    const trials: Trial[] = []
    const length = 1 + random.below(life === 'store' ? 4 : 2)
    for (let place = 0; place < length; place++) {
      const last = place === length - 1
      const blow = chooseBlow(random, choices, life, () => turns[life]++)
      const power = blow.is === 'power'
      trial++
      trials.push({
        number: trial,
        seed: random.below(2 ** 32),
        blow,
        inspected: last || power || !random.oneIn(3),
      })
      // Nobody can go on believing after writes were lost.
      if (power) break
    }
    yield { number, life, trials }
  }
}

function chooseBlow(
  random: Random,
  choices: Choices,
  life: 'store' | 'peer',
  turn: () => number,
): Blow {
  const { only } = choices
  const passed = choices[life]
  const points = [...passed.keys()].filter((point) => only === undefined || point.includes(only))
  const share = random.share()
  const kind = random.below(20)
  if (only !== undefined || kind < 9) {
    const point = points[turn() % Math.max(1, points.length)]
    if (point !== undefined) {
      const count = 1 + random.below(Math.min(passed.get(point) ?? 1, passingsMax))
      return { is: 'point', point, count, share }
    }
  }
  const calls = [...passed]
    .filter(([point]) => point.endsWith(' before'))
    .reduce((sum, [, count]) => sum + count, 0)
  if (kind < 14) return { is: 'call', count: 1 + random.below(calls), share }
  if (kind < 18) return { is: 'time', afterMs: random.share() ** 2 * (life === 'store' ? 60 : 400) }
  return {
    is: 'power',
    kind: random.of(['journal', 'content', 'content', 'spool'] as const),
    from: 1 + random.below(30),
    count: 1 + random.below(40),
    zeros: random.oneIn(2),
  }
}

/** A peer of a swarm: whom it was told to ask. */
export interface Member {
  readonly id: string
  readonly parents: readonly string[]
}

/**
 * How many rounds it takes until every member has every piece, when each sends one piece per round and takes up to two, from different parents. A child
 * asks the least complete of its parents that is free and has something that it lacks, and takes what is rarest among its parents.
 */
export function swarmRounds(
  members: readonly Member[],
  originId: string,
  pieceCount: number,
): number {
  const random = randomFrom(7)
  const has = new Map(members.map(({ id }) => [id, new Set<number>()]))
  const held = (id: string): Set<number> => has.get(id) ?? new Set()
  for (let piece = 0; piece < pieceCount; piece++) held(originId).add(piece)
  const children = members.filter(({ id }) => id !== originId)
  for (let round = 0; ; round++) {
    const hungry = children.filter(({ id }) => held(id).size < pieceCount)
    if (hungry.length === 0) return round
    if (round > 20 * pieceCount) throw new Error('The swarm is stuck')
    const busy = new Set<string>()
    const coming = new Map(hungry.map(({ id }) => [id, new Set<number>()]))
    for (let share = 0; share < 2; share++) {
      for (const child of shuffled(hungry, random)) {
        const own = held(child.id)
        const expected = coming.get(child.id) ?? new Set()
        const holders = child.parents.map(held)
        const free = child.parents.filter((id) => !busy.has(id))
        free.sort((a, b) => held(a).size - held(b).size)
        for (const parent of free) {
          const wanted = [...held(parent)].filter(
            (piece) => !own.has(piece) && !expected.has(piece),
          )
          const piece = rarest(wanted, holders, random)
          if (piece === undefined) continue
          busy.add(parent)
          expected.add(piece)
          break
        }
      }
    }
    for (const [id, pieces] of coming) for (const piece of pieces) held(id).add(piece)
  }
}

function rarest(
  pieces: readonly number[],
  holders: readonly ReadonlySet<number>[],
  random: () => number,
): number | undefined {
  const rated = pieces.map((piece) => {
    const count = holders.filter((held) => held.has(piece)).length
    return { piece, rank: count + random() }
  })
  rated.sort((a, b) => a.rank - b.rank)
  return rated[0]?.piece
}

function shuffled<T>(items: readonly T[], random: () => number): readonly T[] {
  return items
    .map((item) => ({ item, rank: random() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ item }) => item)
}

/** The same numbers in each run. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

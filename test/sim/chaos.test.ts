import assert from 'node:assert/strict'
import test from 'node:test'
import { PeerError } from '../../src/errors.ts'
import type { Answer } from '../../src/task/ports.ts'
import { seeded } from './clock.ts'
import type { Manners, SimParent } from './parents.ts'
import { lost, SimAnnouncer } from './scheduler.ts'
import { outcomeOf, SimWorld } from './world.ts'

const reads: readonly Manners['reads'][] = [
  'well',
  'well',
  'silent',
  'stuck',
  'wrong',
  'undigested',
  'short',
  'unreachable',
  'refused',
]
const feeds: readonly Manners['feed'][] = [
  'open',
  'open',
  'ends',
  'unreachable',
  'refused',
  'changed',
  'lies',
  'floods',
]

/** A world in which everybody may misbehave and change manners at any time, made from a seed. */
class Chaos {
  readonly world: SimWorld
  readonly random: () => number
  readonly parents: SimParent[] = []
  readonly announcer: SimAnnouncer

  constructor(seed: number) {
    this.random = seeded(seed)
    this.world = new SimWorld(5 + this.below(25), { slotsMax: 1 + this.below(12) })
    for (let at = 0; at < 2 + this.below(6); at++) {
      const some = this.world.all.filter(() => this.random() < 0.6)
      this.parents.push(this.world.parents.add(`p${at}`, some, this.manners()))
    }
    const first = this.random() < 0.1 ? [] : [this.answer()]
    this.announcer = new SimAnnouncer(first, (session) => {
      if (this.random() < 0.8) session.answer(this.answer())
    })
  }

  below(count: number): number {
    return Math.floor(this.random() * count)
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }

  manners(): Partial<Manners> {
    return {
      reads: this.pick(reads),
      feed: this.pick(feeds),
      delayMs: this.below(3000),
      sendMs: this.below(2000),
    }
  }

  answer(): Answer | PeerError | undefined {
    const chance = this.random()
    if (chance < 0.7) {
      const some = this.parents.filter(() => this.random() < 0.6)
      return { is: 'parents', parents: some.map(({ parent }) => parent) }
    }
    if (chance < 0.8) return { is: this.pick(['empty', 'metadata', 'source'] as const) }
    return chance < 0.9 ? lost() : undefined
  }

  /** Somebody does something unexpected. */
  stir(): void {
    const parent = this.pick(this.parents)
    const chance = this.random()
    if (chance < 0.4) parent.gets(this.below(this.world.cut.pieceCount))
    else if (chance < 0.7) Object.assign(parent.manners, this.manners())
    else if (chance < 0.8 && this.announcer.sessions.length > 0) {
      this.announcer.session.answer(this.answer())
    }
  }

  /** Lets time pass with something happening now and then. False when the run did not end within four hours. */
  async until(predicate: () => boolean, stirs: number): Promise<boolean> {
    const { clock } = this.world
    for (let at = 0; at < stirs && !predicate(); at++) {
      await clock.until(predicate, clock.now() + this.below(2000))
      this.stir()
    }
    return clock.until(predicate, clock.now() + 4 * 3_600_000)
  }

  /** Each piece was reported once, by each session at most, and nothing is left. */
  check(): void {
    this.world.checkContent()
    this.world.checkNothingOpen()
    const reported = this.announcer.sessions.flatMap(({ reports }) =>
      reports.map(({ piece }) => piece.number),
    )
    assert.equal(reported.length, new Set(reported).size)
    for (const { told } of this.announcer.sessions) {
      assert.equal(told.filter((word) => word.startsWith('end')).length, 1)
    }
  }
}

const count = 150

test(`Run finishes whatever parents and schedulers do, when the origin is good (${count} seeds)`, async () => {
  for (let seed = 1; seed <= count; seed++) {
    const chaos = new Chaos(seed)
    const run = chaos.world.run(chaos.announcer, { originRanges: seed % 3 > 0 }, seed)
    const seen = outcomeOf(run.join().done)
    assert.ok(await chaos.until(() => seen.settled, 40), `seed ${seed} does not end`)
    assert.equal(seen.error, undefined, `seed ${seed}: ${String(seen.error)}`)
    await run.ended
    assert.equal(chaos.world.sink.keptCount, chaos.world.cut.pieceCount, `seed ${seed}`)
    chaos.check()
  }
})

test(`Run without the origin ends, well or with nobody left to ask, and never touches it (${count} seeds)`, async () => {
  for (let seed = 1; seed <= count; seed++) {
    const chaos = new Chaos(seed + 10_000)
    const run = chaos.world.run(chaos.announcer, { backToSource: 'never' }, seed)
    const seen = outcomeOf(run.join().done)
    assert.ok(await chaos.until(() => seen.settled, 40), `seed ${seed} does not end`)
    if (seen.error !== undefined) {
      assert.ok(PeerError.is(seen.error, 'NO_PARENTS', 'ORIGIN_CHANGED'), `seed ${seed}`)
    }
    await run.ended
    assert.equal(chaos.world.origin.reads.length, 0)
    chaos.check()
  }
})

test(`Run gives everything back at once when it is cancelled at any moment (${count} seeds)`, async () => {
  for (let seed = 1; seed <= count; seed++) {
    const chaos = new Chaos(seed + 20_000)
    const run = chaos.world.run(chaos.announcer, { originRanges: seed % 2 > 0 }, seed)
    const shares = [run.join(), run.join({ start: 3, length: 20 })]
    const all = shares.map(({ done }) => outcomeOf(done))
    await chaos.until(() => !run.open || chaos.random() < 0.02, 20)
    const at = chaos.world.clock.now()
    for (const share of shares) share.leave('stop')
    await run.ended
    assert.equal(chaos.world.clock.now(), at)
    assert.ok(all.every(({ settled }) => settled))
    chaos.check()
  }
})

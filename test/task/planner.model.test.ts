import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { geometry } from '../../src/task/piece.ts'
import { originId } from '../../src/task/plan.ts'
import { Planner } from '../../src/task/planner.ts'
import { seeded } from '../sim/clock.ts'

const pieceCount = 12
const ids = ['a', 'b', 'c', 'd']
const limits = { parentInFlightMax: 2, originInFlightMax: 2 }

type Step = { readonly do: string; readonly parent: string; readonly number: number }

/** What a planner should know, kept in the plainest way. */
class Model {
  readonly wanted = new Set<number>()
  readonly kept = new Set<number>()
  readonly jobs = new Map<number, string>()
  readonly parents = new Map<
    string,
    { haves: Set<number>; refused: Set<number>; paused: boolean }
  >()
  origin = false

  /** Parents that could be asked for this piece. */
  sources(number: number): string[] {
    return [...this.parents]
      .filter(([, { haves, paused }]) => !paused && haves.has(number))
      .map(([id]) => id)
  }

  busy(parent: string): number {
    return [...this.jobs.values()].filter((id) => id === parent).length
  }

  waiting(): number[] {
    return [...this.wanted].filter((number) => !this.kept.has(number) && !this.jobs.has(number))
  }
}

function check(model: Model, plan: ReturnType<Planner['next']>): void {
  if (plan === undefined) {
    for (const number of model.waiting()) {
      const sources = model.sources(number)
      // A better parent may be spared while another one delivers, but nobody who could give something is left without any work.
      for (const id of sources) assert.ok(model.busy(id) > 0, `${id} could give ${number}`)
      if (sources.length === 0 && model.origin) {
        assert.ok(model.busy(originId) >= limits.originInFlightMax, `origin could give ${number}`)
      }
    }
    return
  }
  const { number } = plan.piece
  assert.ok(model.waiting().includes(number), `${number} is wanted and not fetched`)
  if (plan.parent === originId) {
    assert.ok(model.origin)
    assert.deepEqual(model.sources(number), [])
    assert.ok(model.busy(originId) < limits.originInFlightMax)
  } else {
    assert.ok(model.sources(number).includes(plan.parent), `${plan.parent} may be asked`)
    assert.ok(model.busy(plan.parent) < limits.parentInFlightMax)
  }
  model.jobs.set(number, plan.parent)
}

function apply(planner: Planner, model: Model, step: Step): void {
  const { parent: id, number } = step
  const parent = model.parents.get(id)
  const job = model.jobs.get(number)
  switch (step.do) {
    case 'next':
      return check(model, planner.next())
    case 'want':
      planner.want(number)
      model.wanted.add(number)
      return
    case 'unwant':
      assert.equal(planner.unwant(number), model.wanted.delete(number) && job !== undefined)
      return
    case 'parent':
      planner.onParents([id])
      if (parent === undefined) {
        model.parents.set(id, { haves: new Set(), refused: new Set(), paused: false })
      }
      return
    case 'have':
      planner.onHave(id, number)
      if (parent?.refused.has(number) === false) parent.haves.add(number)
      return
    case 'pause':
      planner.onParentPaused(id)
      if (parent !== undefined) parent.paused = true
      return
    case 'resume':
      planner.onParentResumed(id)
      if (parent !== undefined) parent.paused = false
      return
    case 'gone':
      planner.onParentGone(id)
      model.parents.delete(id)
      // The entry is not the one that the job asked, should the parent come back.
      for (const [at, from] of model.jobs) if (from === id) model.jobs.set(at, `${id} before`)
      return
    case 'open':
      planner.onOrigin('pieces')
      model.origin = true
      return
    case 'close':
      planner.onOrigin('closed')
      model.origin = false
      return
    case 'done':
      if (job === undefined) return
      planner.onDone(number, 5)
      model.jobs.delete(number)
      model.kept.add(number)
      model.wanted.delete(number)
      return
    case 'failed':
    case 'refused': {
      if (job === undefined) return
      planner.onFailed(number, step.do === 'refused')
      model.jobs.delete(number)
      const asked = model.parents.get(job)
      if (step.do === 'failed' || asked === undefined) return
      asked.refused.add(number)
      asked.haves.delete(number)
      return
    }
    case 'kept':
      if (job !== undefined) return
      planner.onKept(number)
      model.kept.add(number)
      model.wanted.delete(number)
      return
    case 'urge':
      planner.urge([number])
      return
  }
}

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom('next', 'have') },
    {
      weight: 3,
      arbitrary: fc.constantFrom('want', 'parent', 'done', 'failed', 'refused', 'urge'),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom('unwant', 'pause', 'resume', 'gone', 'open', 'close', 'kept'),
    },
  ),
  parent: fc.constantFrom(...ids),
  number: fc.nat(pieceCount - 1),
})

test('Planner keeps its promises whatever happens', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.nat(), (steps, seed) => {
      const planner = new Planner(geometry(pieceCount * 10, 10), limits, seeded(seed))
      const model = new Model()
      planner.onParents(['a'])
      model.parents.set('a', { haves: new Set(), refused: new Set(), paused: false })
      for (const one of steps) {
        apply(planner, model, one)
        const fetching = [...model.jobs.keys()].filter((number) => model.wanted.has(number)).length
        const unreachable = model.waiting().filter((at) => model.sources(at).length === 0).length
        assert.deepEqual(planner.counts, {
          waiting: model.waiting().length,
          unreachable,
          fetching,
          done: model.kept.size,
        })
        assert.equal(planner.missing, model.waiting().length + fetching)
      }
      // Everything that can be done is done.
      for (;;) {
        const plan = planner.next()
        check(model, plan)
        if (plan !== undefined) continue
        const [job] = model.jobs
        if (job === undefined) break
        apply(planner, model, { do: 'done', parent: '', number: job[0] })
      }
      for (const number of model.waiting()) {
        assert.deepEqual(model.sources(number), [])
        assert.equal(model.origin, false)
      }
    }),
    { numRuns: 500 },
  )
})

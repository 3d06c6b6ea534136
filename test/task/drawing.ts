import { geometry } from '../../src/task/piece.ts'
import { type PlannerLimits, originId } from '../../src/task/plan.ts'
import { Planner } from '../../src/task/planner.ts'
import { seeded } from '../sim/clock.ts'

/** A swarm as text. Line `me`: `.` wanted, `k` kept, `-` not wanted. Every other line is a parent: `#` what it has. Columns are pieces. */
export type Drawing = Readonly<Record<string, string>> & { readonly me: string }

/** A planner that has been told everything in the drawing. */
export function drawn(
  { me, ...parents }: Drawing,
  limits: Partial<PlannerLimits> = {},
  seed = 1,
): Planner {
  const planner = new Planner(
    geometry(me.length * 10, 10),
    { parentInFlightMax: 4, originInFlightMax: 4, ...limits },
    seeded(seed),
  )
  for (const [number, mark] of [...me].entries()) {
    if (mark === 'k') planner.onKept(number)
    if (mark === '.') planner.want(number)
  }
  planner.onParents(Object.keys(parents))
  for (const [id, row] of Object.entries(parents)) tell(planner, id, row)
  return planner
}

/** Tells what a parent has. */
export function tell(planner: Planner, parent: string, row: string): void {
  for (const [number, mark] of [...row].entries()) {
    if (mark === '#') planner.onHave(parent, number)
  }
}

/** Everything that can be begun now, as `piece parent`. */
export function begun(planner: Planner): string[] {
  const plans: string[] = []
  for (let plan = planner.next(); plan !== undefined; plan = planner.next()) {
    plans.push(`${plan.piece.number} ${plan.parent === originId ? 'origin' : plan.parent}`)
  }
  return plans
}

/** The next plan as `piece parent`; undefined when there is none. */
export function nextOf(planner: Planner): string | undefined {
  const plan = planner.next()
  if (plan === undefined) return undefined
  return `${plan.piece.number} ${plan.parent === originId ? 'origin' : plan.parent}`
}

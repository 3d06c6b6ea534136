/** Module hooks, see `fan-out-upstream.ts`. */
import type { ResolveHook } from 'node:module'

/** What stands in the place of what. */
const replaced: readonly (readonly [string, string])[] = [
  ['/src/task/choice.js', './fan-out-upstream-choice.js'],
  ['/src/task/meetings.js', './fan-out-upstream-meetings.js'],
  ['/src/transport/turns.js', './fan-out-upstream-turns.js'],
]

/** Called for each import. */
export const resolve: ResolveHook = async (specifier, context, next) => {
  const found = await next(specifier, context)
  const other = replaced.find(([ours]) => found.url.endsWith(ours))
  // The replacements themselves may import what they replace.
  if (other === undefined || context.parentURL?.includes('/fan-out-upstream') === true) return found
  return { ...found, url: new URL(other[1], import.meta.url).href }
}

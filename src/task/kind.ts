/**
 * What kind of task: `standard` has an origin; `persistent` lies in object storage and in the network; `persistentCache` lies in the network alone.
 */
export type TaskKind = 'standard' | 'persistent' | 'persistentCache'

/** In what the kinds differ. Everything else is one engine. */
export interface KindRules {
  /** `TaskType` of the wire. */
  readonly wireType: number
  /** Vortex tag of a piece request (vortex-protocol 0.1.5 and later). */
  readonly requestTag: number
  /** Vortex tag of the answer that carries a piece. */
  readonly contentTag: number
  /** Whether an origin may hold the content too. */
  readonly hasOrigin: boolean
  /** Whether storage keeps it until its time to live is over, whatever the disk usage. */
  readonly keptUntilExpiry: boolean
}

/** The table. One row per kind. */
export const kinds: Readonly<Record<TaskKind, KindRules>> = Object.freeze({
  standard: {
    wireType: 0,
    requestTag: 0,
    contentTag: 1,
    hasOrigin: true,
    keptUntilExpiry: false,
  },
  persistent: {
    wireType: 1,
    requestTag: 2,
    contentTag: 3,
    hasOrigin: true,
    keptUntilExpiry: true,
  },
  persistentCache: {
    wireType: 2,
    requestTag: 4,
    contentTag: 5,
    hasOrigin: false,
    keptUntilExpiry: true,
  },
})

/** The kind whose piece requests carry this Vortex tag; undefined for a tag that asks for nothing we have. */
export function kindOfRequestTag(tag: number): TaskKind | undefined {
  for (const [kind, rules] of Object.entries(kinds)) {
    if (rules.requestTag === tag) return kind as TaskKind
  }
  return undefined
}

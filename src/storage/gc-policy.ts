/** What the policy wants to know about a task. */
export interface GcTask {
  readonly id: string
  /** What dropping it frees. 0 for an adopted file: only its time to live ends it. */
  readonly bytes: number
  /** Wall-clock milliseconds of its last use. */
  readonly usedAt: number
  /** Wall-clock milliseconds. */
  readonly createdAt: number
  /** Its own time to live in milliseconds, counted from `createdAt`. */
  readonly ttlMs?: number
  /** Kept until its time to live is over; for ever without one. */
  readonly persistent: boolean
  /** Somebody works with it now. */
  readonly held: boolean
}

/** How full the store is, and how full it may be. */
export interface GcLimits {
  /** Wall-clock milliseconds. */
  readonly now: number
  /** Bytes taken now, with those that are wanted at the moment. */
  readonly bytesUsed: number
  /** Above this, tasks are dropped … */
  readonly highWaterBytes: number
  /** … until no more than this is taken. */
  readonly lowWaterBytes: number
  /** Time to live of tasks without one of their own, in milliseconds since their last use. Not for persistent ones. */
  readonly ttlMs?: number
}

/** One task to drop. */
export interface GcChoice {
  readonly id: string
  readonly why: 'ttl' | 'usage'
}

/**
 * Decides what a store drops: first everything whose time is over, then, if too much is taken, what was not used for longest. Never what is held,
 * and never a persistent task before its time. Pure; `Collector` acts on it.
 */
export function chooseGarbage(tasks: readonly GcTask[], limits: GcLimits): GcChoice[] {
  const chosen: GcChoice[] = []
  const rest: GcTask[] = []
  let taken = limits.bytesUsed
  for (const task of tasks) {
    if (task.held) continue
    if (expired(task, limits)) {
      chosen.push({ id: task.id, why: 'ttl' })
      taken -= task.bytes
    } else if (!task.persistent && task.bytes > 0) {
      rest.push(task)
    }
  }
  if (taken <= limits.highWaterBytes) return chosen
  rest.sort((left, right) => left.usedAt - right.usedAt || left.createdAt - right.createdAt)
  for (const task of rest) {
    if (taken <= limits.lowWaterBytes) break
    chosen.push({ id: task.id, why: 'usage' })
    taken -= task.bytes
  }
  return chosen
}

function expired(task: GcTask, limits: GcLimits): boolean {
  if (task.ttlMs !== undefined) return limits.now >= task.createdAt + task.ttlMs
  if (task.persistent || limits.ttlMs === undefined) return false
  return limits.now >= task.usedAt + limits.ttlMs
}

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

/** Tasks that are looked at, and sorted, between two pauses. */
const tasksAtOnceMax = 512

/**
 * Decides what a store drops: first everything whose time is over, then, if too much is taken, what was not used for longest. Never what is held,
 * and never a persistent task before its time. Pure; `Collector` acts on it.
 *
 * Yields each choice, and `undefined` where the work may pause: between two of these stand no more than `tasksAtOnceMax` tasks. What is left to choose from is
 * sorted in runs of that length, which are merged only as far as something has to go.
 */
export function* garbageSteps(
  tasks: Iterable<GcTask>,
  limits: GcLimits,
): Generator<GcChoice | undefined, void, undefined> {
  const runs: GcTask[][] = []
  let run: GcTask[] = []
  let seen = 0
  let taken = limits.bytesUsed
  for (const task of tasks) {
    if (!task.held && expired(task, limits)) {
      taken -= task.bytes
      yield { id: task.id, why: 'ttl' }
    } else if (!task.held && !task.persistent && task.bytes > 0) {
      run.push(task)
    }
    seen++
    if (seen % tasksAtOnceMax > 0) continue
    runs.push(run.sort(latestFirst))
    run = []
    yield undefined
  }
  runs.push(run.sort(latestFirst))
  if (taken <= limits.highWaterBytes) return
  while (taken > limits.lowWaterBytes) {
    const task = takeOldest(runs)
    if (task === undefined) return
    taken -= task.bytes
    yield { id: task.id, why: 'usage' }
  }
}

/** All choices at once. */
export function chooseGarbage(tasks: Iterable<GcTask>, limits: GcLimits): GcChoice[] {
  return [...garbageSteps(tasks, limits)].filter((step) => step !== undefined)
}

/** The longest unused of all runs, each of which ends with its own. */
function takeOldest(runs: GcTask[][]): GcTask | undefined {
  let from: GcTask[] | undefined
  let oldest: GcTask | undefined
  for (const run of runs) {
    const last = run.at(-1)
    if (last === undefined || (oldest !== undefined && latestFirst(last, oldest) <= 0)) continue
    oldest = last
    from = run
  }
  return from?.pop()
}

function latestFirst(left: GcTask, right: GcTask): number {
  return right.usedAt - left.usedAt || right.createdAt - left.createdAt
}

function expired(task: GcTask, limits: GcLimits): boolean {
  if (task.ttlMs !== undefined) return limits.now >= task.createdAt + task.ttlMs
  if (task.persistent || limits.ttlMs === undefined) return false
  return limits.now >= task.usedAt + limits.ttlMs
}

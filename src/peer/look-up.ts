import { PeerError } from '../errors.ts'
import type { KeptTask } from '../storage/store.ts'
import type { Geometry } from '../task/piece.ts'
import type { TaskSpec } from '../task/ports.ts'
import { specOf } from './record.ts'
import type { World } from './world.ts'

/**
 * What a task is that is known by its id alone: from the own stores, else from the scheduler, first among files written into the network, then among downloads.
 *
 * @throws PeerError TASK_NOT_FOUND, SCHEDULER_UNAVAILABLE
 */
export async function lookUp(
  world: World,
  kept: KeptTask | undefined,
  asked: TaskSpec,
  signal: AbortSignal,
): Promise<{ readonly spec: TaskSpec; readonly cut: Geometry | undefined }> {
  const own = { headers: asked.headers, priority: asked.priority }
  const digest = asked.digest === undefined ? {} : { digest: asked.digest }
  if (kept !== undefined) {
    return { spec: { ...specOf(kept.record), ...own, ...digest }, cut: kept.geometry }
  }
  const known =
    (await world.scheduler.statPersistentCacheTask(asked.id, signal)) ??
    (await world.scheduler.statTask(asked.id, signal))
  if (known === undefined) {
    throw new PeerError('TASK_NOT_FOUND', 'Nobody in the network knows this task', {
      task: asked.id,
    })
  }
  return { spec: { ...known.spec, ...own, ...digest }, cut: known.geometry }
}

/** How the scheduler believes the content to be cut now; undefined when it does not know, or cannot be asked. */
export async function knownCut(
  {
    scheduler,
  }: { readonly scheduler: Pick<World['scheduler'], 'statTask' | 'statPersistentCacheTask'> },
  { id, kind }: TaskSpec,
  signal: AbortSignal,
): Promise<Geometry | undefined> {
  try {
    const known =
      kind === 'persistentCache'
        ? await scheduler.statPersistentCacheTask(id, signal)
        : await scheduler.statTask(id, signal)
    return known?.geometry
  } catch (error) {
    if (PeerError.is(error, 'SCHEDULER_UNAVAILABLE', 'SCHEDULER_REFUSED')) return undefined
    throw error
  }
}

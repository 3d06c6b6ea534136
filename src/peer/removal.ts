import { Code, ConnectError } from '@connectrpc/connect'
import { isTaskId } from '../hash/task-id.ts'
import type { TaskKind } from '../task/kind.ts'
import type { Tasks } from './tasks.ts'
import type { World } from './world.ts'

/**
 * Deletes a task by order from outside: the scheduler is told first, so that it sends no more children here, then what is kept is dropped. What is being
 * downloaded is in use here and is not deleted from outside. An adopted file and outputs stay, as with every drop.
 *
 * @returns false when nothing of that kind and id is here
 * @throws ConnectError FailedPrecondition
 */
export async function removeTask(
  { world, tasks }: { readonly world: World; readonly tasks: Tasks },
  taskId: string,
  kind: TaskKind,
  signal: AbortSignal,
): Promise<boolean> {
  const found = isTaskId(taskId) ? tasks.find(taskId) : undefined
  if (found === undefined || found.task.record.kind !== kind) return false
  if (tasks.ending(taskId) !== undefined) throw busy()
  try {
    await world.announcements.withdraw(found.task, signal)
    const dropped = await tasks.drop(taskId, signal)
    if (dropped === 'busy') throw busy()
    return dropped === 'dropped'
  } finally {
    // What stays, because the caller went away for one, is served on. A copy of a written file is not given back: its scheduler orders this host to drop it.
    if (kind === 'standard') void world.announcements.announce(found.task)
  }
}

/** As `removeTask`. @throws ConnectError NotFound, FailedPrecondition */
export async function removeKnownTask(
  ...[parts, taskId, kind, signal]: Parameters<typeof removeTask>
): Promise<void> {
  if (await removeTask(parts, taskId, kind, signal)) return
  throw new ConnectError('task not found', Code.NotFound)
}

function busy(): ConnectError {
  return new ConnectError('The task is being downloaded', Code.FailedPrecondition)
}

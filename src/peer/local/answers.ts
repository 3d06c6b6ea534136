import type { MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError } from '@connectrpc/connect'
import { isTaskId } from '../../hash/task-id.ts'
import { wireTime } from '../../rpc/convert.ts'
import type {
  StatLocalPersistentCacheTaskResponseSchema,
  StatLocalTaskResponseSchema,
} from '../../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import type { KeptTask } from '../../storage/store.ts'
import type { TaskKind } from '../../task/kind.ts'
import type { Tasks } from '../tasks.ts'
import type { World } from '../world.ts'

/** Most tasks in one answer, those used last: the protocol knows no pages. Each takes about 150 bytes. */
export const listedTasksMax: number = 16_384

/** What is known of a task here, for StatLocalTask. */
export function localTaskAnswer(
  task: KeptTask,
): MessageInitShape<typeof StatLocalTaskResponseSchema> {
  return { ...common(task), responseHeader: { ...task.record.headers } }
}

/** The same of a written file. */
export function localCacheAnswer(
  task: KeptTask,
): MessageInitShape<typeof StatLocalPersistentCacheTaskResponseSchema> {
  const { persistent, ttlMs } = task.record
  return { ...common(task), persistent: persistent ?? false, ttl: wireTime(ttlMs ?? 0) }
}

/** The entry of a list: without response headers, which would make the list as long as somebody's origin likes. */
export function listedTaskAnswer(
  task: KeptTask,
): MessageInitShape<typeof StatLocalTaskResponseSchema> {
  return common(task)
}

/** Tasks of one kind that are kept here, each once, the one used last first. */
export function keptTasks({ stores }: World, kind: TaskKind): KeptTask[] {
  const byId = new Map<string, KeptTask>()
  for (const task of stores.flatMap((store) => store.list())) {
    if (task.record.kind === kind && !byId.has(task.record.id)) byId.set(task.record.id, task)
  }
  return [...byId.values()]
    .toSorted((one, other) => other.usedAt - one.usedAt)
    .slice(0, listedTasksMax)
}

/** The kept task of that id and kind. @throws ConnectError NotFound */
export function keptTask(tasks: Tasks, taskId: string, kind: TaskKind): KeptTask {
  const found = isTaskId(taskId) ? tasks.find(taskId) : undefined
  if (found === undefined || found.task.record.kind !== kind) throw taskNotFound()
  return found.task
}

/** As daemons say it. */
export function taskNotFound(): ConnectError {
  return new ConnectError('task not found', Code.NotFound)
}

function common(task: KeptTask) {
  const { geometry, record, complete, usedAt } = task
  return {
    taskId: record.id,
    pieceLength: BigInt(geometry.pieceLength),
    contentLength: BigInt(geometry.contentLength),
    createdAt: timestampFromMs(record.createdAt),
    updatedAt: timestampFromMs(usedAt),
    ...(complete ? { finishedAt: timestampFromMs(usedAt) } : {}),
  }
}

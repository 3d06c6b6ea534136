import { create } from '@bufbuild/protobuf'
import { EmptySchema } from '@bufbuild/protobuf/wkt'
import type { ConnectRouter, HandlerContext } from '@connectrpc/connect'
import { DfdaemonDownload } from '../../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { removeKnownTask } from '../removal.ts'
import { cacheTaskAnswer, taskAnswer } from '../stat-answers.ts'
import type { Tasks } from '../tasks.ts'
import type { World } from '../world.ts'
import {
  keptTask,
  keptTasks,
  listedTaskAnswer,
  localCacheAnswer,
  localTaskAnswer,
  taskNotFound,
} from './answers.ts'
import type { CallKind, Calls } from './calls.ts'
import type { Deliveries } from './delivery.ts'
import { listEntries } from './entries.ts'
import { localFailure, unsupported } from './failure.ts'
import { importFile } from './importing.ts'

/** What the service works with. */
export interface LocalServiceParts {
  readonly world: World
  readonly tasks: Tasks
  readonly calls: Calls
  readonly deliveries: Deliveries
}

/**
 * dfdaemon.v2 DfdaemonDownload: what tools of this user ask of this peer over the unix socket (controlplane 6). Unlike the upload service it writes to paths
 * and deletes, since the caller could do both without it.
 */
export function localRoutes(parts: LocalServiceParts): (router: ConnectRouter) => void {
  const { world, tasks, calls, deliveries } = parts
  const { scheduler } = world

  async function answered<T>(
    context: HandlerContext,
    work: (signal: AbortSignal) => T | Promise<T>,
    kind: CallKind = 'question',
  ): Promise<T> {
    try {
      using call = await calls.enter(kind, context.signal)
      return await work(call.signal)
    } catch (error) {
      throw localFailure(error)
    }
  }
  const empty = async (
    context: HandlerContext,
    work: (signal: AbortSignal) => Promise<unknown>,
  ) => {
    await answered(context, work)
    return create(EmptySchema)
  }

  return (router) =>
    router.service(DfdaemonDownload, {
      downloadTask: (request, { signal }) => deliveries.download(request, signal),
      statTask: ({ taskId }, context) =>
        answered(context, async (signal) => {
          const known = await scheduler.statTask(taskId, signal)
          if (known === undefined) throw taskNotFound()
          return taskAnswer(known)
        }),
      statLocalTask: ({ taskId }, context) =>
        answered(context, () => localTaskAnswer(keptTask(tasks, taskId, 'standard'))),
      listLocalTasks: (_request, context) =>
        answered(context, () => ({ tasks: keptTasks(world, 'standard').map(listedTaskAnswer) })),
      listTaskEntries: (request, context) =>
        answered(context, (signal) => listEntries(world, request, signal)),
      // The scheduler is told of every standard task that is dropped, whoever drops it; so the two are one.
      deleteTask: ({ taskId }, context) =>
        empty(context, (signal) => removeKnownTask(parts, taskId, 'standard', signal)),
      deleteLocalTask: ({ taskId }, context) =>
        empty(context, (signal) => removeKnownTask(parts, taskId, 'standard', signal)),
      // For hooks that run before a host goes: the schedulers send nobody here any more, until the peer is started again.
      deleteHost: (_request, context) => empty(context, (signal) => scheduler.deleteHost(signal)),

      downloadPersistentCacheTask: (request, { signal }) => deliveries.exportTask(request, signal),
      uploadPersistentCacheTask: (request, context) =>
        answered(context, (signal) => importFile(world, request, signal), 'import'),
      statPersistentCacheTask: ({ taskId }, context) =>
        answered(context, async (signal) => {
          const known = await scheduler.statPersistentCacheTask(taskId, signal)
          if (known === undefined) throw taskNotFound()
          return cacheTaskAnswer(known)
        }),
      statLocalPersistentCacheTask: ({ taskId }, context) =>
        answered(context, () => localCacheAnswer(keptTask(tasks, taskId, 'persistentCache'))),
      listLocalPersistentCacheTasks: (_request, context) =>
        answered(context, () => ({
          tasks: keptTasks(world, 'persistentCache').map(localCacheAnswer),
        })),

      downloadPersistentTask: refuseObjectStorage,
      uploadPersistentTask: refuseObjectStorage,
      statPersistentTask: refuseObjectStorage,
      statLocalPersistentTask: refuseObjectStorage,
      listLocalPersistentTasks: refuseObjectStorage,
      downloadCacheTask: refuseCacheTasks,
      statCacheTask: refuseCacheTasks,
      deleteCacheTask: refuseCacheTasks,
    })
}

function refuseObjectStorage(): never {
  throw unsupported('Persistent tasks in object storage are not supported by this peer')
}

function refuseCacheTasks(): never {
  throw unsupported('Cache tasks are not supported: use persistent cache tasks')
}

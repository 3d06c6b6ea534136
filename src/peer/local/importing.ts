import type { MessageInitShape } from '@bufbuild/protobuf'
import { stat } from 'node:fs/promises'
import { isAbsolute } from 'node:path'
import { millisOf, wireTime } from '../../rpc/convert.ts'
import type { PersistentCacheTaskSchema } from '../../rpc/gen/common/v2/common_pb.ts'
import type { UploadPersistentCacheTaskRequest } from '../../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { storeError } from '../../storage/errno.ts'
import { writeSettings } from '../download-settings.ts'
import { cacheTaskAnswer } from '../stat-answers.ts'
import { keep } from '../write.ts'
import type { World } from '../world.ts'
import { checked, invalid } from './failure.ts'

/**
 * Answers UploadPersistentCacheTask: copies a file of this machine into the store and makes it known. A copy, so that nobody can change what the network
 * keeps; importing the same content again gives the same task.
 *
 * @throws ConnectError InvalidArgument; PeerError FILE_NOT_FOUND, PERMISSION_DENIED, NO_SPACE, SCHEDULER_UNAVAILABLE, SCHEDULER_REFUSED
 */
export async function importFile(
  world: World,
  request: UploadPersistentCacheTaskRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof PersistentCacheTaskSchema>> {
  const { path, contentForCalculatingTaskId: name, persistentReplicaCount, tag } = request
  const { application, pieceLength } = request
  if (!isAbsolute(path) || path.includes('\0')) throw invalid('path must be absolute')
  const ttlMs = millisOf(request.ttl)
  const settings = checked(() =>
    writeSettings({
      ...(persistentReplicaCount === 0n ? {} : { replicas: Number(persistentReplicaCount) }),
      ...(ttlMs === undefined ? {} : { ttlMs }),
      ...(tag === undefined ? {} : { tag }),
      ...(application === undefined ? {} : { application }),
      ...(pieceLength === undefined || pieceLength === 0n
        ? {}
        : { pieceLength: Number(pieceLength) }),
    }),
  )
  await refuseSpecial(path)
  const task = await keep(world, path, settings, signal, name)
  const known = await world.scheduler.statPersistentCacheTask(task.record.id, signal)
  if (known !== undefined) return cacheTaskAnswer(known)
  const { contentLength, pieceLength: length, pieceCount } = task.geometry
  return {
    id: task.record.id,
    persistentReplicaCount: BigInt(settings.replicas),
    currentPersistentReplicaCount: 1n,
    currentReplicaCount: 1n,
    contentLength: BigInt(contentLength),
    pieceLength: BigInt(length),
    pieceCount,
    state: 'Succeeded',
    ttl: wireTime(settings.ttlMs),
    createdAt: wireTime(task.record.createdAt),
  }
}

/** Opening a pipe waits for its other end, and reading a device may never end. */
async function refuseSpecial(path: string): Promise<void> {
  try {
    if ((await stat(path)).isFile()) return
  } catch (error) {
    throw storeError(error, { path, operation: 'stat', output: true })
  }
  throw invalid(`path is no regular file: ${path}`)
}

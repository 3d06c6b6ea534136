import type { MessageInitShape } from '@bufbuild/protobuf'
import { u32, u64, wireTime } from '../rpc/convert.ts'
import {
  type PersistentCacheTaskSchema,
  type TaskSchema,
  TaskType,
} from '../rpc/gen/common/v2/common_pb.ts'
import type { KnownCacheTask, KnownTask } from '../scheduler/known-task.ts'
import { redactUrl } from '../source/redact.ts'

/** Answer to StatTask. Whoever asks over the network gets the URL without what may be secret in it, and no headers. */
export function taskAnswer(known: KnownTask): MessageInitShape<typeof TaskSchema> {
  const { spec, geometry } = known
  return {
    id: spec.id,
    type: TaskType.STANDARD,
    url: spec.url === undefined ? '' : redactUrl(spec.url),
    filteredQueryParams: [...spec.filteredQueryParams],
    contentLength: u64(geometry?.contentLength ?? 0),
    pieceCount: u32(geometry?.pieceCount ?? 0),
    state: known.state,
    peerCount: known.peerCount,
    ...(spec.tag === undefined ? {} : { tag: spec.tag }),
    ...(spec.application === undefined ? {} : { application: spec.application }),
  }
}

/** Answer to StatPersistentCacheTask. */
export function cacheTaskAnswer(
  known: KnownCacheTask,
): MessageInitShape<typeof PersistentCacheTaskSchema> {
  const { spec, geometry, replicas, createdAt, updatedAt } = known
  return {
    id: spec.id,
    persistentReplicaCount: u64(replicas.wanted),
    currentPersistentReplicaCount: u64(replicas.persistent),
    currentReplicaCount: u64(replicas.all),
    contentLength: u64(geometry?.contentLength ?? 0),
    pieceLength: u64(geometry?.pieceLength ?? 0),
    pieceCount: u32(geometry?.pieceCount ?? 0),
    state: known.state,
    ttl: wireTime(spec.ttlMs ?? 0),
    ...(spec.tag === undefined ? {} : { tag: spec.tag }),
    ...(spec.application === undefined ? {} : { application: spec.application }),
    ...(createdAt === undefined ? {} : { createdAt: wireTime(createdAt) }),
    ...(updatedAt === undefined ? {} : { updatedAt: wireTime(updatedAt) }),
  }
}

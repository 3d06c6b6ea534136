import type { TaskRecord } from '../storage/store.ts'
import { versionToken } from '../hash/version.ts'
import { kinds } from '../task/kind.ts'
import type { OriginStat, TaskSpec } from '../task/ports.ts'

/** What a store keeps about a task. Request headers are not among it: they hold credentials and belong to one download. */
export function recordOf(spec: TaskSpec, createdAt: number, stat?: OriginStat): TaskRecord {
  return {
    id: spec.id,
    kind: spec.kind,
    createdAt,
    filteredQueryParams: spec.filteredQueryParams,
    persistent: kinds[spec.kind].keptUntilExpiry,
    ...(spec.url === undefined ? {} : { url: spec.url }),
    ...(spec.tag === undefined ? {} : { tag: spec.tag }),
    ...(spec.application === undefined ? {} : { application: spec.application }),
    ...(spec.pieceLength === undefined ? {} : { pieceLength: spec.pieceLength }),
    ...(spec.ttlMs === undefined ? {} : { ttlMs: spec.ttlMs }),
    ...(spec.replicas === undefined ? {} : { replicas: spec.replicas }),
    ...(stat?.validator === undefined ? {} : { validator: stat.validator }),
    ...(stat === undefined ? {} : { headers: stat.headers }),
  }
}

/** Token of the version that a task holds; undefined when it is not known. */
export function versionOf({ validator, version }: TaskRecord): string | undefined {
  return validator === undefined ? version : versionToken(validator)
}

/** The task of a record, as the engine and the scheduler know it. */
export function specOf(record: TaskRecord): TaskSpec {
  return {
    id: record.id,
    kind: record.kind,
    filteredQueryParams: record.filteredQueryParams ?? [],
    headers: {},
    priority: 6,
    ...(record.url === undefined ? {} : { url: record.url }),
    ...(record.tag === undefined ? {} : { tag: record.tag }),
    ...(record.application === undefined ? {} : { application: record.application }),
    ...(record.pieceLength === undefined ? {} : { pieceLength: record.pieceLength }),
    ...(record.ttlMs === undefined ? {} : { ttlMs: record.ttlMs }),
    ...(record.replicas === undefined ? {} : { replicas: record.replicas }),
  }
}

/** Bounds and times of an embedded scheduler. Times are milliseconds. */
export interface SchedulerLimits {
  /** Hosts; a new one beyond is refused. @defaultValue 4096 */
  readonly hostsMax: number
  /** Tasks; the one that was idle longest makes room. @defaultValue 65536 */
  readonly tasksMax: number
  /** Peers of all tasks together; a new one beyond is refused. @defaultValue 131072 */
  readonly peersMax: number
  /** Peers of one task; the oldest finished one without children makes room. @defaultValue 1024 */
  readonly taskPeersMax: number
  /** Parents in one answer. @defaultValue 4 */
  readonly candidateParentsMax: number
  /** Children after which a parent is taken only when others have as many. @defaultValue 4 */
  readonly childrenSoftMax: number
  /** Failures in a row after which a parent is taken last. @defaultValue 3 */
  readonly blamesMax: number
  /** Answers on one stream to a child that runs this package. @defaultValue 64 */
  readonly answersMax: number
  /** Answers on one stream to any other child: the sixth would make it give up. @defaultValue 5 */
  readonly foreignAnswersMax: number
  /** For how long a parent that could not deliver is not offered to this child again; doubles each time. @defaultValue 15000 */
  readonly banMs: number
  /** For how long the others wait for a peer that was sent to the origin to say that it goes there. @defaultValue 5000 */
  readonly sourceStartMs: number
  /** For how long the others wait for a peer at the origin that does not know the length yet. @defaultValue 300000 */
  readonly unknownLengthMs: number
  /** For how long the others wait for a peer that is done with the origin to say what the length was. @defaultValue 2000 */
  readonly lengthToldMs: number
  /** For how long the askers wait for a triggered seed to register; below the ten seconds after which a real daemon gives up. @defaultValue 8000 */
  readonly seedStartMs: number
  /** For how long a seed that failed for a task is not triggered for it again. @defaultValue 60000 */
  readonly seedBanMs: number
  /** Seeds that are triggered for one task at the same time. @defaultValue 4 */
  readonly taskTriggersMax: number
  /** Calls to other hosts under way; beyond, seeds count as absent and replicas wait. @defaultValue 256 */
  readonly callsMax: number
  /** For how long a child of a persistent cache task waits while somebody still imports it. @defaultValue 30000 */
  readonly importWaitMs: number
  /** For how long a host that could not take a replica is not asked for the same one again. @defaultValue 30000 */
  readonly replicaRetryMs: number
  /** Copies of one task that an importer may ask for. @defaultValue 64 */
  readonly replicasMax: number
  /** For how long a failed peer can still be looked up. @defaultValue 10000 */
  readonly failedKeptMs: number
  /** For how long a task without peers is kept. @defaultValue 1800000 */
  readonly idleTaskMs: number
  /** Time between two passes over what is overdue. @defaultValue 1000 */
  readonly sweepMs: number
}

/** The bounds that hold when no others are given. */
export const schedulerLimits: SchedulerLimits = Object.freeze({
  hostsMax: 4096,
  tasksMax: 65_536,
  peersMax: 131_072,
  taskPeersMax: 1024,
  candidateParentsMax: 4,
  childrenSoftMax: 4,
  blamesMax: 3,
  answersMax: 64,
  foreignAnswersMax: 5,
  banMs: 15_000,
  sourceStartMs: 5_000,
  unknownLengthMs: 300_000,
  lengthToldMs: 2_000,
  seedStartMs: 8_000,
  seedBanMs: 60_000,
  taskTriggersMax: 4,
  callsMax: 256,
  importWaitMs: 30_000,
  replicaRetryMs: 30_000,
  replicasMax: 64,
  failedKeptMs: 10_000,
  idleTaskMs: 1_800_000,
  sweepMs: 1_000,
})

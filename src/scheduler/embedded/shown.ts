import type { HostRecord } from './host-record.ts'
import type { PeerRecord, TaskRecord } from './records.ts'
import type { Registry } from './registry.ts'

/** Hosts that `explain()` tells of. */
const hostsShownMax = 1024
/** Tasks that `explain()` tells of: all of them, up to 65 536, would hold up the event loop. */
const tasksShownMax = 256
/** Peers of these tasks together that `explain()` tells of. */
const peersShownMax = 2048

/** The part of a registry that is told. */
export interface Shown {
  readonly hosts: readonly HostRecord[]
  readonly tasks: readonly ShownTask[]
  /** How many more there are. */
  readonly leftOut: { readonly hosts: number; readonly tasks: number; readonly peers: number }
}

/** A task with those of its peers that are told. */
export interface ShownTask {
  readonly task: TaskRecord
  readonly peers: readonly PeerRecord[]
}

/** Chooses: tasks that somebody waits for come first, then those with unfinished peers, then the newest ones. @param waitedFor - by children without an answer */
export function shown(registry: Registry, waitedFor: Iterable<TaskRecord>): Shown {
  const hosts = [...registry.hosts].slice(0, hostsShownMax)
  const all = [...registry.tasks].reverse()
  const inOrder = new Set([
    ...waitedFor,
    ...all.filter(isUnfinished),
    ...all.slice(0, tasksShownMax),
  ])
  const tasks: ShownTask[] = []
  let room = peersShownMax
  for (const task of [...inOrder].slice(0, tasksShownMax)) {
    const peers = peersOf(task, room)
    room -= peers.length
    tasks.push({ task, peers })
  }
  const { counts } = registry
  const leftOut = {
    hosts: counts.hosts - hosts.length,
    tasks: counts.tasks - tasks.length,
    peers: counts.peers - (peersShownMax - room),
  }
  return { hosts, tasks, leftOut }
}

function isUnfinished({ peers }: TaskRecord): boolean {
  for (const peer of peers.values()) if (!peer.isOver) return true
  return false
}

/** All of them where there is room, or else the unfinished ones first. */
function peersOf(task: TaskRecord, room: number): readonly PeerRecord[] {
  const all = [...task.peers.values()]
  if (all.length <= room) return all
  return [...all.filter((peer) => !peer.isOver), ...all.filter((peer) => peer.isOver)].slice(
    0,
    room,
  )
}

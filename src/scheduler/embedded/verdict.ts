import type { SchedulerLimits } from './limits.ts'
import { coversRange, mayServe, rank, type RankRules } from './rank.ts'
import type { HostRecord } from './host-record.ts'
import type { PeerRecord } from './records.ts'

/** What a child that wants parents is told. */
export type Verdict =
  | { readonly is: 'empty' }
  | { readonly is: 'metadata' }
  | { readonly is: 'parents'; readonly parents: readonly PeerRecord[] }
  | { readonly is: 'source'; readonly reason: string }
  | {
      readonly is: 'refused'
      readonly code: 'precondition' | 'not-found'
      readonly reason: string
    }

/** What a child that wants parents is told, or what has to happen first. */
export type Decision =
  | Verdict
  /** Not before something changes, or this time comes. */
  | { readonly is: 'wait'; readonly untilMs: number | undefined }
  /** This seed has to be triggered. */
  | { readonly is: 'seed'; readonly host: HostRecord }

/** What is known beside the task, for one decision. */
export interface Circumstances {
  readonly nowMs: number
  readonly limits: SchedulerLimits
  readonly rules: RankRules
  /** Since when this child waits. */
  readonly sinceMs: number
  /** Children that are told in the same moment. */
  readonly joining: ReadonlySet<PeerRecord>
  /** The child keeps its parents, and wants others beside them. */
  readonly more: boolean
  /** A seed that could be triggered for this child now. */
  readonly findSeed: (child: PeerRecord) => HostRecord | undefined
}

/**
 * What to tell a child now. Pure: it looks at the records and changes nothing.
 *
 * As Go (controlplane 1.3 to 1.5) where it can be seen from outside, but for this: a child is answered in the moment in which there is something to
 * say. It is sent to the origin at once when nobody has the content and nobody is about to have it; and while one peer is on its way there, the
 * others wait for it, so that the origin is read once.
 */
export function decide(child: PeerRecord, around: Circumstances): Decision {
  const { task, wish } = child
  const length = wish.geometry ?? task.geometry
  if (length?.contentLength === 0) return { is: 'empty' }
  if (wish.needBackToSource && !wish.never) return { is: 'source', reason: 'It was asked for' }
  const parents = ranked(child, around)
  if (parents.length > 0) return { is: 'parents', parents }
  if (task.kind === 'persistentCache') return decideCache(child, around)
  // Peers of this package know how long they want to wait, and send no seed to the origin.
  if (wish.never && child.host.own) {
    return { is: 'wait', untilMs: child.nextBanEndMs(around.nowMs) }
  }
  const untilMs = expectation(child, around)
  if (untilMs !== undefined) return { is: 'wait', untilMs }
  return decideOrigin(child, around)
}

/** The parents that can be offered to this child. Those that it has are no news, but better than no answer. */
function ranked(
  child: PeerRecord,
  { nowMs, rules, joining, more }: Circumstances,
): readonly PeerRecord[] {
  const isBanned = (parent: PeerRecord): boolean => child.bans(parent, nowMs)
  const isKnown = (parent: PeerRecord): boolean => child.parents.has(parent) || isBanned(parent)
  const peers = child.task.peers
  const others = more ? rank(child, peers.values(), { rules, isBanned: isKnown, joining }) : []
  return others.length > 0 ? others : rank(child, peers.values(), { rules, isBanned, joining })
}

/**
 * Nobody has it, nobody is about to: who goes to the origin, by priority (controlplane 1.5)? A real daemon that shall not go there means that it does not go by
 * itself: a seed may. But it obeys an order to go, so it gets none, and it waits for an answer for hours, so it gets one.
 */
function decideOrigin(child: PeerRecord, around: Circumstances): Decision {
  const host = child.host.isSeed ? undefined : around.findSeed(child)
  if (child.wish.never && (host === undefined || child.wish.priority === 3)) {
    const untilMs = child.nextBanEndMs(around.nowMs)
    if (untilMs !== undefined) return { is: 'wait', untilMs }
    return { is: 'refused', code: 'precondition', reason: 'Nobody has it but the origin' }
  }
  if (host === undefined) return { is: 'source', reason: 'Nobody else has it' }
  switch (child.wish.priority) {
    case 1:
      return { is: 'refused', code: 'precondition', reason: 'The priority forbids the download' }
    case 2:
      return { is: 'refused', code: 'not-found', reason: 'Nobody has it, by priority' }
    case 3:
      return { is: 'source', reason: 'The priority says so' }
    default:
      return { is: 'seed', host }
  }
}

/** A persistent cache task has no origin: it is there, or on its way, or lost. */
function decideCache(child: PeerRecord, { nowMs, limits, sinceMs }: Circumstances): Decision {
  const untilMs = sinceMs + limits.importWaitMs
  const others = [...child.task.peers.values()].filter((peer) => peer !== child)
  const coming = others.some(({ state }) => state.is === 'Uploading' || state.is === 'Succeeded')
  if (coming && nowMs < untilMs) return { is: 'wait', untilMs }
  return { is: 'refused', code: 'precondition', reason: 'No candidate parents found' }
}

/** Until when it is worth waiting for others; undefined when nobody is about to have what this child wants. */
function expectation(child: PeerRecord, around: Circumstances): number | undefined {
  let latest: number | undefined
  const note = (untilMs: number): void => {
    if (untilMs > around.nowMs && untilMs > (latest ?? 0)) latest = untilMs
  }
  for (const [hostId, { untilMs, asker }] of child.task.triggers) {
    // A seed that wants the content itself must not wait for itself: its download is what the trigger joins there.
    if (hostId === child.host.id || child.failedBy(hostId, around.nowMs)) continue
    if (coversRange(asker.range, child.range)) note(untilMs)
  }
  for (const peer of child.task.peers.values()) {
    if (peer === child || !mayServe(peer, child) || child.bans(peer, around.nowMs)) continue
    if (!coversRange(peer.range, child.range)) continue
    const untilMs = readyMs(peer, around.limits)
    if (untilMs !== undefined) note(untilMs)
  }
  return latest
}

/** Until when this peer may become a parent by itself. */
function readyMs(peer: PeerRecord, limits: SchedulerLimits): number | undefined {
  const { state } = peer
  if (peer.orderedMs !== undefined) return peer.orderedMs + limits.sourceStartMs
  if (peer.geometry !== undefined) return undefined
  if (state.is === 'BackToSource') return state.sinceMs + limits.unknownLengthMs
  return state.is === 'Succeeded' ? state.sinceMs + limits.lengthToldMs : undefined
}

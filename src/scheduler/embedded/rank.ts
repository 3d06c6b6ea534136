import type { Geometry, Range } from '../../task/piece.ts'
import type { Coverage } from './coverage.ts'

/** What ranking looks at. Plain facts: it never changes one and never asks a clock. */
export interface Ranked {
  readonly id: string
  readonly host: {
    readonly id: string
    readonly disableShared: boolean
    /** Runs this package. */
    readonly own: boolean
    readonly idc: string | undefined
    readonly location: string | undefined
  }
  readonly state: { readonly is: PeerStateName }
  /** Only this part of the content is wanted, or kept. */
  readonly range: Range | undefined
  /** Undefined while the peer does not know the length. */
  readonly geometry: Geometry | undefined
  readonly pieces: Coverage | undefined
  readonly parents: ReadonlySet<Ranked>
  readonly children: ReadonlySet<Ranked>
  /** Hops to the nearest peer that needs no parents, when the parents were told. */
  readonly depth: number
  /** Failures that children reported since the last piece that one of them got. */
  readonly blames: number
}

/** States of a peer (controlplane 1.7 and 5.2). */
export type PeerStateName =
  | 'Pending'
  | 'ReceivedEmpty'
  | 'ReceivedNormal'
  | 'Running'
  | 'BackToSource'
  | 'Uploading'
  | 'Succeeded'
  | 'Failed'
  | 'Leave'

/** How ranking decides. */
export interface RankRules {
  /** Parents in one answer. */
  readonly parentsMax: number
  /** Up to this many children a parent counts as free. */
  readonly childrenSoftMax: number
  /** A parent with this many failures in a row is taken only when there is no other. */
  readonly blamesMax: number
  /** 0 to 1, 1 excluded. */
  readonly random: () => number
}

/** From whom to choose, beside the peers of the task. */
export interface RankChoice<T extends Ranked> {
  readonly rules: RankRules
  /** Parents that this child shall not get now. */
  readonly isBanned: (parent: T) => boolean
  /** Peers that are told their parents in the same moment as this child. They may become its parents, and it theirs. */
  readonly joining: ReadonlySet<T>
}

/**
 * The parents to offer to a child, the best first.
 *
 * Dropped: the child itself, its host, hosts that do not share, the banned, peers of another version of the content or of unknown length, and
 * whoever has nothing that the child lacks and no way to get it. One of those offered can always deliver without the others.
 *
 * Parents and children form no circle where a foreign peer is part of it. Among peers of this package circles are welcome: each piece travels its
 * own way, and without circles a swarm is a chain. (In a round model with equal uplinks and 64 peers the best order without circles needs
 * 1.8 times the lower bound for 64 pieces, four least-loaded parents with circles 1.2.)
 *
 * Preferred: few failures; few children; much of what the child lacks; the same data centre, a near place; near to the content. The number of children
 * comes before what a parent has, because a holder that everybody asks is slower than its children: uploads are the bottleneck of a swarm.
 */
export function rank<T extends Ranked>(
  child: T,
  peers: Iterable<T>,
  { rules, isBanned, joining }: RankChoice<T>,
): readonly T[] {
  const all = [...peers]
  const fed = fedPeers(all, child)
  const below = descendants(child)
  const best = new Best<T>(rules.parentsMax)
  for (const peer of all) {
    if (peer === child || !mayServe(peer, child) || peer.geometry === undefined) continue
    if (isBanned(peer)) continue
    if (below.has(peer) && !(child.host.own && peer.host.own)) continue
    if (!isActive(peer) && !joining.has(peer)) continue
    const share = shareOf(peer, child)
    const sure = share > 0 || fed.has(peer)
    if (sure || joining.has(peer)) best.add(peer, sure, weigh(peer, child, share, rules))
  }
  return best.peers
}

/** Whether somebody who is fed could serve this child: cheaper than to rank all, and right for a child that wants the whole content. */
export function isServed<T extends Ranked>(
  child: T,
  fed: Iterable<T>,
  isBanned: (parent: T) => boolean,
): boolean {
  for (const peer of fed) {
    if (peer !== child && mayServe(peer, child) && peer.geometry !== undefined) {
      if (isActive(peer) && !isBanned(peer)) return true
    }
  }
  return false
}

interface Weighed<T> {
  readonly peer: T
  readonly weight: readonly number[]
}

/** The best so many of any number, of which at least one is sure: it delivers whatever becomes of those that join now. Nobody when nobody is sure. */
class Best<T> {
  readonly #count: number
  readonly #top: Weighed<T>[] = []
  #sure: Weighed<T> | undefined

  constructor(count: number) {
    this.#count = count
  }

  get peers(): readonly T[] {
    const sure = this.#sure
    if (sure === undefined) return []
    const chosen = this.#top.includes(sure) ? this.#top : [...this.#top.slice(0, -1), sure]
    return chosen.map(({ peer }) => peer)
  }

  add(peer: T, sure: boolean, weight: readonly number[]): void {
    const one = { peer, weight }
    if (sure && (this.#sure === undefined || compare(weight, this.#sure.weight) < 0)) {
      this.#sure = one
    }
    const last = this.#top.at(-1)
    const full = this.#top.length >= this.#count
    if (full && last !== undefined && compare(weight, last.weight) >= 0) return
    const at = this.#top.findIndex((other) => compare(weight, other.weight) < 0)
    this.#top.splice(at < 0 ? this.#top.length : at, 0, one)
    if (this.#top.length > this.#count) this.#top.pop()
  }
}

/** Whether these two could ever exchange pieces: another host that shares, and the same content as far as is known. */
export function mayServe(peer: Ranked, child: Ranked): boolean {
  if (peer.host.id === child.host.id || peer.host.disableShared) return false
  const { geometry } = peer
  if (geometry === undefined || child.geometry === undefined) return true
  if (geometry.contentLength !== child.geometry.contentLength) return false
  // One piece is the same whatever its length may have been: who knows the task by its id alone cannot tell.
  const single = geometry.pieceCount === 1 && child.geometry.pieceCount === 1
  return single || geometry.pieceLength === child.geometry.pieceLength
}

/** Whether a part holds another one. Undefined is the whole content. */
export function coversRange(outer: Range | undefined, inner: Range | undefined): boolean {
  if (outer === undefined) return true
  if (inner === undefined) return false
  return outer.start <= inner.start && outer.start + outer.length >= inner.start + inner.length
}

/** Whether it has something to serve now, or soon: a peer that was told parents is about to. */
function isActive({ state, parents }: Ranked): boolean {
  if (state.is === 'ReceivedNormal') return parents.size > 0
  return state.is === 'Running' || state.is === 'BackToSource' || state.is === 'Succeeded'
}

/** Share of what the child lacks that the peer is known to have. */
function shareOf(peer: Ranked, child: Ranked): number {
  if (peer.state.is === 'Succeeded' && peer.range === undefined) return 1
  return peer.pieces?.shareOfLack(child.pieces) ?? 0
}

/** Smaller is better, the first difference decides. */
function weigh(peer: Ranked, child: Ranked, share: number, rules: RankRules): readonly number[] {
  return [
    peer.blames >= rules.blamesMax ? 1 : 0,
    Math.max(0, peer.children.size - rules.childrenSoftMax + 1),
    // Quarters: what is reported lags behind, so small differences mean nothing.
    -Math.floor(share * 4),
    -affinity(peer, child),
    peer.children.size,
    peer.depth,
    rules.random(),
  ]
}

/** 0 to 1 (controlplane 3.2): two thirds for the data centre, the rest for the common part of the location. */
export function affinity(peer: Ranked, child: Ranked): number {
  const idc = same(peer.host.idc, child.host.idc) ? 2 / 3 : 0
  return idc + near(peer.host.location, child.host.location) / 3
}

function same(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && a.toLowerCase() === b.toLowerCase()
}

function near(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return 0
  if (same(a, b)) return 1
  const left = a.toLowerCase().split('|', 5)
  const right = b.toLowerCase().split('|', 5)
  const differs = left.findIndex((part, at) => part !== right[at])
  return (differs < 0 ? left.length : differs) / 5
}

/** Peers that the child feeds, over any number of hops. */
function descendants(child: Ranked): ReadonlySet<Ranked> {
  return reached(child.children, () => true)
}

/** Peers that have all that the child wants, or are fed by one that does, over any number of hops but not through the child. */
export function fedPeers<T extends Ranked>(peers: Iterable<T>, child: T): ReadonlySet<Ranked> {
  const roots = [...peers].filter((peer) => isRoot(peer, child))
  return reached(roots, (peer) => peer !== child && coversRange(peer.range, child.range))
}

/** Whether it has, or fetches from the origin, everything that the child wants. */
function isRoot(peer: Ranked, child: Ranked): boolean {
  if (peer.state.is !== 'BackToSource' && peer.state.is !== 'Succeeded') return false
  return coversRange(peer.range, child.range)
}

function reached(from: Iterable<Ranked>, may: (peer: Ranked) => boolean): ReadonlySet<Ranked> {
  const found = new Set<Ranked>()
  const open = [...from]
  for (let peer = open.pop(); peer !== undefined; peer = open.pop()) {
    if (found.has(peer) || !may(peer)) continue
    found.add(peer)
    for (const below of peer.children) open.push(below)
  }
  return found
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let at = 0; at < a.length; at++) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

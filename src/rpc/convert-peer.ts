import type { MessageInitShape } from '@bufbuild/protobuf'

import type { Parent, PieceReport } from '../task/ports.ts'
import { idLengthMax, textOf, u32, u64, wholeOf, wireTime } from './convert.ts'
import { isAddress, isPort } from './convert-host.ts'
import {
  type Peer,
  type PersistentCachePeer,
  type PieceSchema,
  TrafficType,
} from './gen/common/v2/common_pb.ts'

/** Parents that are taken from one answer; the rest of a longer list is ignored. Schedulers give 20 at most. */
export const parentsMax = 256

/** A candidate as any of the kinds writes it. */
export type Candidate = Peer | PersistentCachePeer

/** What an answer with candidates says. */
export interface Candidates<T extends Candidate> {
  readonly parents: readonly Parent[]
  /** The messages behind the parents, by peer id: they must be echoed as they came. */
  readonly messages: ReadonlyMap<string, T>
  /** Bytes; undefined when no candidate tells it. */
  readonly contentLength?: number
}

/** Reads a list of candidates. Those that cannot be asked (no host, no literal address, no port) are skipped, repeated ones too. */
export function candidatesOf<T extends Candidate>(list: readonly T[]): Candidates<T> {
  const parents: Parent[] = []
  const messages = new Map<string, T>()
  let contentLength: number | undefined
  for (const message of list.slice(0, parentsMax)) {
    contentLength ??= wholeOf(message.task?.contentLength)
    const parent = parentOf(message)
    if (parent === undefined || messages.has(parent.id)) continue
    parents.push(parent)
    messages.set(parent.id, message)
  }
  return { parents, messages, ...(contentLength === undefined ? {} : { contentLength }) }
}

/** A candidate as a parent; undefined when it cannot be asked. */
export function parentOf(candidate: Candidate): Parent | undefined {
  const { host } = candidate
  const id = textOf(candidate.id, idLengthMax)
  const hostId = textOf(host?.id, idLengthMax)
  if (host === undefined || id === undefined || hostId === undefined) return undefined
  if (!isAddress(host.ip) || !isPort(host.port)) return undefined
  return { id, hostId, ip: host.ip, port: host.port, seed: host.type !== 0 }
}

/** A finished piece as the wire's `Piece`. Cost and time are always set: a Go scheduler ends the stream without them. */
export function pieceMessage(report: PieceReport): MessageInitShape<typeof PieceSchema> {
  const source = report.traffic === 'source'
  return {
    number: u32(report.piece.number),
    offset: u64(report.piece.offset),
    length: u64(report.piece.length),
    digest: report.digest,
    trafficType: source ? TrafficType.BACK_TO_SOURCE : TrafficType.REMOTE_PEER,
    cost: wireTime(report.costMs),
    createdAt: wireTime(report.createdAt),
    ...(report.parentId === '' ? {} : { parentId: report.parentId }),
  }
}

import { isIP } from 'node:net'
import { createClient } from '@connectrpc/connect'
import { PeerError } from '../errors.ts'
import { isDigest } from '../hash/digest.ts'
import { isVersionToken } from '../hash/version.ts'
import type { OwnPiece, SyncPiecesResponse } from '../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { DfdaemonUpload } from '../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { rpcError } from '../rpc/rpc-error.ts'
import type { TaskKind } from '../task/kind.ts'
import type { Feed, Have, Parent } from '../task/ports.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import { Scope } from '../util/scope.ts'
import type { HostChannels } from './host-channels.ts'
import { toldAtOnceMax } from './piece-news.ts'

/** Request header by which a child names the version of the content that it wants. Other implementations ignore it. */
export const validatorHeader: string = 'dragonfly-peer-validator'

/** Request header by which a child says under which peer id the scheduler knows it. Other implementations ignore it. */
export const peerIdHeader: string = 'dragonfly-peer-id'

/**
 * Longest wait for the headers of an answer, in milliseconds. A parent sends them at once, also when it has nothing to tell for long; one that does not is hung, and
 * nothing is hoped from it.
 */
export const feedHeadersTimeoutMs: number = 3000

/** Method of the upload service that tells about pieces, by kind of task. */
const methods = {
  standard: 'syncPieces',
  persistent: 'syncPersistentPieces',
  persistentCache: 'syncPersistentCachePieces',
} as const satisfies Record<TaskKind, string>

/** Why the call of a feed ends. Made once, because every small task has a feed. It never leaves this file. */
const feedOver = new Error('The feed has ended')

/** Pieces of parents over their gRPC upload service (dfdaemon.v2 SyncPieces and its twins). */
export class ParentFeed implements Feed {
  readonly #channels: HostChannels
  readonly #hostId: string
  readonly #clock: Clock

  /** @param hostId - own host, which parents see in their logs */
  constructor(channels: HostChannels, hostId: string, clock: Clock = systemClock) {
    this.#channels = channels
    this.#hostId = hostId
    this.#clock = clock
  }

  /** See `Feed`. */
  async watch(
    parent: Parent,
    request: Parameters<Feed['watch']>[1],
    onHave: (have: Have) => void,
    signal: AbortSignal,
  ): Promise<void> {
    // It would tell this very download what it has already, and hope for itself.
    if (parent.hostId === this.#hostId) {
      throw protocolError(parent, 'host', 'another host', 'this one')
    }
    const client = createClient(DfdaemonUpload, this.#channels.to(parent.ip, parent.port))
    const { spec, numbers, version, peerId } = request
    // Leaving the loop does not end a call, its signal does.
    using scope = new Scope([signal])
    const answered = this.#clock.after(feedHeadersTimeoutMs, () => scope.abort(hung(parent)))
    const headers: Record<string, string> = {
      ...(version === undefined ? {} : { [validatorHeader]: version }),
      // A host name may have letters that no header can carry.
      ...(peerId !== undefined && /^[!-~]+$/.test(peerId) ? { [peerIdHeader]: peerId } : {}),
    }
    try {
      const answers = client[methods[spec.kind]](
        {
          hostId: this.#hostId,
          taskId: spec.id,
          interestedPieceNumbers: [...numbers],
          ownSeveral: true,
        },
        { signal: scope.signal, headers, onHeader: () => answered() },
      )
      for await (const answer of answers) {
        for (const have of readHaves(parent, answer)) onHave(have)
      }
    } catch (error) {
      signal.throwIfAborted()
      scope.signal.throwIfAborted()
      throw PeerError.is(error) ? error : feedError(parent, spec.id, error)
    } finally {
      answered()
      scope.abort(feedOver)
    }
  }

  /** See `Feed`. HTTP/2 gives signs of life by itself, in every implementation. */
  async ping({ ip, port }: Parent): Promise<void> {
    // Where there is no connection the parent is in this process.
    await this.#channels.to(ip, port).ping?.()
  }
}

/** Takes a message apart; refuses figures that cannot be those of a piece. */
function readHaves(
  parent: Parent,
  answer: Omit<SyncPiecesResponse, '$typeName' | '$unknown'>,
): readonly Have[] {
  if (answer.ownMore.length >= toldAtOnceMax) {
    throw protocolError(parent, 'count of pieces', `${toldAtOnceMax} at most`, 'more')
  }
  if (isIP(answer.ip) === 0) {
    throw protocolError(parent, 'ip', 'a literal address', 'something else')
  }
  const { number, offset, length, ownDigest, ownVersion } = answer
  // It stands for a name that others gave: what is none says nothing.
  const version = ownVersion !== undefined && isVersionToken(ownVersion) ? ownVersion : undefined
  const endpoint = {
    ip: answer.ip,
    ...(isPort(answer.tcpPort) ? { tcpPort: answer.tcpPort } : {}),
    ...(isPort(answer.quicPort) ? { quicPort: answer.quicPort } : {}),
  }
  return [{ number, offset, length, digest: ownDigest }, ...answer.ownMore].map((piece) => ({
    ...readPiece(parent, piece),
    endpoint,
    ...(version === undefined ? {} : { version }),
  }))
}

function readPiece(
  parent: Parent,
  piece: Pick<OwnPiece, 'number' | 'offset' | 'length'> & { readonly digest?: string | undefined },
): Omit<Have, 'endpoint' | 'version'> {
  const { number, digest } = piece
  const offset = Number(piece.offset)
  const length = Number(piece.length)
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length)) {
    throw protocolError(parent, 'offset and length', 'safe whole numbers', 'others')
  }
  return { number, offset, length, ...(digest !== undefined && isDigest(digest) ? { digest } : {}) }
}

function isPort(port: number | undefined): port is number {
  return port !== undefined && port > 0 && port <= 65_535
}

function protocolError(
  parent: Parent,
  what: string,
  expected: string,
  actual: string,
): PeerError<'PARENT_PROTOCOL'> {
  return new PeerError('PARENT_PROTOCOL', `Parent answered with a wrong ${what}`, {
    parent: parent.id,
    what,
    expected,
    actual,
  })
}

function hung(parent: Parent): PeerError<'PARENT_UNREACHABLE'> {
  const reason = `It did not begin to answer within ${feedHeadersTimeoutMs} ms`
  const message = `Parent cannot be asked for its pieces: ${reason}`
  return new PeerError('PARENT_UNREACHABLE', message, { parent: parent.id, reason })
}

function feedError(parent: Parent, task: string, error: unknown): PeerError {
  const { is, reason } = rpcError(error)
  if (is === 'precondition') {
    return new PeerError(
      'ORIGIN_CHANGED',
      'The parent holds another version of the content',
      { url: '', what: 'version', expected: 'the one that is wanted', actual: 'another one' },
      { cause: error },
    )
  }
  if (is === 'not-found') {
    const message = `Parent does not keep the task: ${reason}`
    return new PeerError('TASK_NOT_FOUND', message, { task }, { cause: error })
  }
  if (is === 'unavailable' || is === 'timeout') {
    return new PeerError(
      'PARENT_UNREACHABLE',
      `Parent cannot be asked for its pieces: ${reason}`,
      { parent: parent.id, reason },
      { cause: error },
    )
  }
  return new PeerError(
    'PARENT_REFUSED',
    `Parent does not tell its pieces: ${reason}`,
    { parent: parent.id, reason },
    { cause: error },
  )
}

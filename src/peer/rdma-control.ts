import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect'
import { PeerError } from '../errors.ts'
import type { TaskType } from '../rpc/gen/common/v2/common_pb.ts'
import { DfdaemonUpload } from '../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { Rdma } from '../rpc/gen/dragonflypeer/v1/rdma_pb.ts'
import { rpcError } from '../rpc/rpc-error.ts'
import { kinds } from '../task/kind.ts'
import type { Parent } from '../task/ports.ts'
import { protocolBroken, refused, unreachable } from '../transport/parent-errors.ts'
import type {
  Lease,
  LeaseRequest,
  QueuePairEndpoint,
  RdmaControl,
  RdmaOffer,
} from '../transport/rdma/control.ts'
import type { HostChannels } from './host-channels.ts'

/** Asks parents over the channels by which they are asked for their pieces too: whoever may call there, by mutual TLS or not, may do this. */
export class GrpcRdmaControl implements RdmaControl {
  readonly #channels: HostChannels

  constructor(channels: HostChannels) {
    this.#channels = channels
  }

  async offer(parent: Parent, signal: AbortSignal): Promise<RdmaOffer> {
    return await called(parent, signal, () => this.#rdma(parent).offer({}, { signal }))
  }

  async exchange(
    parent: Parent,
    own: QueuePairEndpoint,
    signal: AbortSignal,
  ): Promise<QueuePairEndpoint> {
    const client = createClient(DfdaemonUpload, this.#channels.to(parent.ip, parent.port))
    const { num, lid, gid } = own
    const { endpoint } = await called(parent, signal, () =>
      client.exchangeIBVerbsQueuePairEndpoint(
        { endpoint: { num, lid, gid: Uint8Array.from(gid) } },
        { signal },
      ),
    )
    if (endpoint !== undefined) return endpoint
    throw protocolBroken(parent.id, { what: 'endpoint', expected: 'one', actual: 'none' })
  }

  async lease(parent: Parent, request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    const { queuePair, mtu, taskId, kind, pieces, wait } = request
    const answer = await called(parent, signal, () =>
      this.#rdma(parent).lease(
        {
          queuePair,
          mtu,
          taskId,
          taskType: kinds[kind].wireType as TaskType,
          pieces: [...pieces],
          wait,
        },
        { signal },
      ),
    )
    return {
      id: answer.lease,
      ttlMs: answer.ttlMs,
      more: answer.more,
      // Figures beyond the safe ones become wrong ones, which are refused like any other.
      pieces: answer.pieces.map(({ number, offset, length, digest, address, key }) => ({
        number,
        offset: Number(offset),
        length: Number(length),
        digest,
        address,
        key,
      })),
    }
  }

  async renew(parent: Parent, lease: string, signal: AbortSignal): Promise<number> {
    const { ttlMs } = await called(parent, signal, () =>
      this.#rdma(parent).renew({ lease }, { signal }),
    )
    return ttlMs
  }

  async release(
    parent: Parent,
    lease: string,
    read: readonly number[],
    signal: AbortSignal,
  ): Promise<void> {
    await called(parent, signal, () =>
      this.#rdma(parent).release({ lease, read: [...read] }, { signal }),
    )
  }

  #rdma(parent: Parent): Client<typeof Rdma> {
    return createClient(Rdma, this.#channels.to(parent.ip, parent.port))
  }
}

async function called<T>(parent: Parent, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    signal.throwIfAborted()
    throw failure(parent, error)
  }
}

function failure(parent: Parent, error: unknown): PeerError {
  const { is, reason } = rpcError(error)
  // The parent's own word that this way does not work now; a connection that broke has another code.
  const limited = error instanceof ConnectError && error.code === Code.ResourceExhausted
  if (limited) {
    return new PeerError(
      'LIMIT_REACHED',
      `Parent ${parent.id} cannot expose the piece: ${reason}`,
      { limit: 'parent', value: 0 },
      { cause: error },
    )
  }
  switch (is) {
    case 'unimplemented':
      return refused(parent.id, 'It does not know the service')
    case 'not-found':
      return refused(parent.id, `not found: ${reason}`)
    case 'internal':
    case 'already-exists':
      return refused(parent.id, `internal: ${reason}`)
    case 'invalid':
      return protocolBroken(parent.id, {
        what: 'opinion of the request',
        expected: 'a valid one',
        actual: reason,
      })
    case 'unavailable':
    case 'timeout':
    case 'exhausted':
    case 'precondition':
    case 'forbidden':
      return unreachable(parent.id, reason, error)
  }
}

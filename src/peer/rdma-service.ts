import { Code, ConnectError, type ConnectRouter, type HandlerContext } from '@connectrpc/connect'
import { PeerError } from '../errors.ts'
import { callerKey } from '../rpc/caller.ts'
import type { IBVerbsQueuePairEndpoint } from '../rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { Rdma } from '../rpc/gen/dragonflypeer/v1/rdma_pb.ts'
import { kinds, type TaskKind } from '../task/kind.ts'
import type { LeaseRequest, QueuePairEndpoint, RdmaService } from '../transport/rdma/control.ts'

/**
 * dragonflypeer.v1 Rdma: leases for children that read out of this peer's memory. A peer that has no RDMA transport answers as if it did not know the service.
 *
 * @param service - throws `Unavailable` while the peer starts; undefined when there is no such transport
 */
export function rdmaRoutes(
  service: () => RdmaService | undefined,
): (router: ConnectRouter) => void {
  const known = (): RdmaService => {
    const found = service()
    if (found !== undefined) return found
    throw withoutRdma()
  }
  return (router) =>
    router.service(Rdma, {
      offer: () => told(() => Promise.resolve(known().offer())),
      lease: (request, context) =>
        told(async () => {
          const lease = await known().lease(requestOf(request), callerOf(context), context.signal)
          return {
            lease: lease.id,
            ttlMs: lease.ttlMs,
            more: lease.more,
            pieces: lease.pieces.map((piece) => ({
              ...piece,
              offset: BigInt(piece.offset),
              length: BigInt(piece.length),
            })),
          }
        }),
      renew: ({ lease }, context) =>
        told(async () => ({ ttlMs: known().renew(lease, callerOf(context)) })),
      release: ({ lease, read }, context) =>
        told(async () => {
          known().release(lease, read, callerOf(context))
          return {}
        }),
    })
}

/** Answers dfdaemon.v2 ExchangeIBVerbsQueuePairEndpoint. */
export async function exchangeQueuePair(
  service: RdmaService | undefined,
  endpoint: IBVerbsQueuePairEndpoint | undefined,
  context: HandlerContext,
): Promise<{ readonly endpoint: QueuePairEndpoint & { readonly gid: Uint8Array<ArrayBuffer> } }> {
  if (service === undefined) throw withoutRdma()
  return await told(async () => {
    if (endpoint === undefined) throw new TypeError('There must be an endpoint')
    const { num, lid, gid } = await service.exchange(endpoint, callerOf(context), context.signal)
    return { endpoint: { num, lid, gid: Uint8Array.from(gid) } }
  })
}

function requestOf(request: {
  readonly queuePair: number
  readonly mtu: number
  readonly taskId: string
  readonly taskType: number
  readonly pieces: readonly number[]
  readonly wait: boolean
}): LeaseRequest {
  const { queuePair, mtu, taskId, taskType, pieces, wait } = request
  for (const [kind, { wireType }] of Object.entries(kinds)) {
    if (wireType !== taskType) continue
    return { queuePair, mtu, taskId, kind: kind as TaskKind, pieces, wait }
  }
  throw new TypeError('There is no such type of task')
}

function callerOf(context: HandlerContext): string {
  return context.values.get(callerKey)
}

function withoutRdma(): ConnectError {
  return new ConnectError('This peer has no RDMA', Code.Unimplemented)
}

/** Says what the child can act on, and nothing about this machine. */
async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof ConnectError) throw error
    if (error instanceof TypeError) throw new ConnectError(error.message, Code.InvalidArgument)
    if (PeerError.is(error, 'LIMIT_REACHED')) {
      throw new ConnectError(error.message, Code.ResourceExhausted)
    }
    if (PeerError.is(error, 'CLOSED')) throw new ConnectError(error.message, Code.Unavailable)
    if (PeerError.is(error, 'TASK_NOT_FOUND')) {
      throw new ConnectError('No such piece here', Code.NotFound)
    }
    throw new ConnectError('The piece cannot be served now', Code.Internal)
  }
}

import { EventEmitter, once } from 'node:events'

import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect'

import { DfdaemonUpload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { KeepAliveRequestSchema, Manager } from '../../src/rpc/gen/manager/v2/manager_pb.ts'
import {
  type AnnouncePeerRequest,
  AnnouncePeerRequestSchema,
  DeleteHostRequestSchema,
  Scheduler,
} from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { SyncPiecesRequestSchema } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { envelope } from './wire.ts'

/** gRPC paths of the methods that the tests call. */
export const paths = {
  announcePeer: '/scheduler.v2.Scheduler/AnnouncePeer',
  deleteHost: '/scheduler.v2.Scheduler/DeleteHost',
  statPeer: '/scheduler.v2.Scheduler/StatPeer',
  syncPieces: '/dfdaemon.v2.DfdaemonUpload/SyncPieces',
  keepAlive: '/manager.v2.Manager/KeepAlive',
} as const

/** A request of each in its envelope; the texts choose what `TestServices` does. */
export const requests = {
  announce: (task: string): Buffer =>
    envelope(AnnouncePeerRequestSchema, { hostId: 'host', taskId: task, peerId: 'peer' }),
  deleteHost: (host: string): Buffer => envelope(DeleteHostRequestSchema, { hostId: host }),
  syncPieces: (task: string): Buffer =>
    envelope(SyncPiecesRequestSchema, { hostId: 'host', taskId: task }),
  keepAlive: (host: string): Buffer => envelope(KeepAliveRequestSchema, { hostname: host }),
} as const

/** Events of `TestServices`. */
interface Happenings {
  /** A handler began. */
  started: [method: string, signal: AbortSignal, timeoutMs: number | undefined]
  /** A handler's signal fired. */
  aborted: [method: string]
  /** A handler came to its end, whichever. */
  left: [method: string]
}

/** Real Dragonfly methods whose behaviour the ids in the request choose. */
export class TestServices extends EventEmitter<Happenings> {
  /** Lets every `'gate'` call go on. */
  open = (): void => undefined
  readonly #gate = new Promise<void>((resolve) => {
    this.open = resolve
  })

  readonly routes = (router: ConnectRouter): void => {
    router.service(Scheduler, {
      announcePeer: (messages, context) => {
        this.#begin('announcePeer', context.signal, context.timeoutMs())
        return this.#announce(messages, context.signal)
      },
      deleteHost: async ({ hostId }, { signal, timeoutMs }) => {
        this.#begin('deleteHost', signal, timeoutMs())
        if (hostId === 'missing') throw new ConnectError('Host not found', Code.NotFound)
        if (hostId === 'bug') throw new TypeError('A bug')
        if (hostId === 'wait') await fired(signal)
        if (hostId === 'gate') await this.#gate
        return {}
      },
    })
    router.service(DfdaemonUpload, {
      syncPieces: ({ taskId, interestedPieceNumbers }, context) => {
        this.#begin('syncPieces', context.signal, context.timeoutMs())
        return this.#sync(taskId, interestedPieceNumbers, context.signal)
      },
    })
    router.service(Manager, {
      keepAlive: async (messages, { signal, timeoutMs }) => {
        this.#begin('keepAlive', signal, timeoutMs())
        for await (const { hostname } of messages) {
          if (hostname === 'leave') break
        }
        return {}
      },
    })
  }

  #begin(method: string, signal: AbortSignal, timeoutMs: number | undefined): void {
    signal.addEventListener('abort', () => this.emit('aborted', method), { once: true })
    this.emit('started', method, signal, timeoutMs)
  }

  /** Answers each message with its task id, until one says otherwise. */
  async *#announce(messages: AsyncIterable<AnnouncePeerRequest>, signal: AbortSignal) {
    try {
      for await (const { taskId } of messages) {
        if (taskId === 'finish') return
        if (taskId === 'fail') throw new ConnectError('Retry limit', Code.FailedPrecondition)
        if (taskId === 'wait') await fired(signal)
        const description = taskId === 'big' ? 'x'.repeat(256 * 1024) : taskId
        const value = { description }
        yield { response: { case: 'needBackToSourceResponse' as const, value } }
        if (taskId === 'big') return
      }
    } finally {
      this.emit('left', 'announcePeer')
    }
  }

  async *#sync(task: string, numbers: readonly number[], signal: AbortSignal) {
    try {
      if (task === 'gate') await this.#gate
      for (const number of numbers) yield { number, ip: '127.0.0.1', tcpPort: 4005 }
      if (task === 'bug') throw new TypeError('A bug')
      if (task === 'wait') await fired(signal)
    } finally {
      this.emit('left', 'syncPieces')
    }
  }
}

/** Rejects with the reason of the signal when it fires. */
async function fired(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, 'abort')
  throw signal.reason
}

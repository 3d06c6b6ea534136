import type { TestContext } from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect'
import type { HostSchema } from '../../src/rpc/gen/common/v2/common_pb.ts'
import {
  type AnnounceHostRequest,
  type AnnouncePeerRequest,
  type AnnouncePersistentCachePeerRequest,
  Scheduler,
} from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { addressText } from '../../src/rpc/address.ts'
import { type RpcServer, serveRpc } from '../../src/rpc/server.ts'
import { cleanup } from '../support/cleanup.ts'

interface Told {
  readonly hosts: AnnounceHostRequest[]
  readonly said: AnnouncePeerRequest[]
  readonly saidOfCache: AnnouncePersistentCachePeerRequest[]
}

/** A scheduler on a port that writes down what it is told and says what a test wants. */
export class ScriptedScheduler implements Told {
  readonly hosts: AnnounceHostRequest[]
  readonly said: AnnouncePeerRequest[]
  readonly saidOfCache: AnnouncePersistentCachePeerRequest[]
  readonly address: string
  readonly #server: RpcServer

  private constructor(server: RpcServer, { hosts, said, saidOfCache }: Told) {
    this.#server = server
    this.hosts = hosts
    this.said = said
    this.saidOfCache = saidOfCache
    this.address = addressText(server.address)
  }

  /** @param methods - what it answers; everything else is not found */
  static async start(
    t: TestContext,
    methods: Partial<ServiceImpl<typeof Scheduler>> = {},
  ): Promise<ScriptedScheduler> {
    const told: Told = { hosts: [], said: [], saidOfCache: [] }
    const server = await serveRpc({
      host: '127.0.0.1',
      port: 0,
      routes: (router) => {
        router.service(Scheduler, {
          announceHost: (request) => {
            told.hosts.push(request)
            return {}
          },
          deleteHost: () => ({}),
          statTask: () => unknown(),
          statPersistentCacheTask: () => unknown(),
          ...methods,
          announcePeer: (requests, context) =>
            tapped(
              requests,
              (list) => told.said.push(list),
              (all) => methods.announcePeer?.(all, context),
            ),
          announcePersistentCachePeer: (requests, context) =>
            tapped(
              requests,
              (list) => told.saidOfCache.push(list),
              (all) => methods.announcePersistentCachePeer?.(all, context),
            ),
        })
      },
    })
    const scheduler = new ScriptedScheduler(server, told)
    cleanup(t, () => scheduler.stop())
    return scheduler
  }

  /** Dies, with all its connections. Safe to call twice. */
  async stop(): Promise<void> {
    this.#server.destroy()
    await this.#server.close()
  }
}

/** A parent that is nowhere: nobody listens on its port. */
export const nobody: MessageInitShape<typeof HostSchema> = {
  id: '127.0.0.1-nobody',
  ip: '127.0.0.1',
  hostname: 'nobody',
  port: 9,
  downloadPort: 9,
}

function unknown(): never {
  throw new ConnectError('It is unknown', Code.NotFound)
}

async function* tapped<Q, A>(
  requests: AsyncIterable<Q>,
  note: (request: Q) => void,
  answer: (requests: AsyncIterable<Q>) => AsyncIterable<A> | undefined,
): AsyncGenerator<A> {
  const all = (async function* () {
    for await (const request of requests) {
      note(request)
      yield request
    }
  })()
  const answers = answer(all)
  if (answers !== undefined) yield* answers
  else for await (const _ of all) unknown()
}

import { deferred } from '../../util/deferred.ts'
import { Health as HealthService } from '../../rpc/gen/grpc/health/v1/health_pb.ts'
import { Health } from '../../rpc/health.ts'
import type { RpcServerLimits } from '../../rpc/server-options.ts'
import { serveRpc } from '../../rpc/server.ts'
import type { Tasks } from '../tasks.ts'
import type { Signals, World } from '../world.ts'
import { Calls, localDownloadsMax, localImportsMax, localQuestionsMax } from './calls.ts'
import { Deliveries } from './delivery.ts'
import { Prefetches } from './prefetches.ts'
import { localRoutes } from './service.ts'

/** Connections of tools at the same time; more are dropped. A tool has one. */
export const localConnectionsMax: number = 512

/** Rights of the socket: this user and nobody else. */
export const socketMode: number = 0o600

/** Bounds of the server. Its calls are bounded by kind, this is for those without one: health. */
const limits: Partial<RpcServerLimits> = {
  /** As said above. */
  connectionsMax: localConnectionsMax,
  /** All kinds together, and as many again for health. */
  callsMax: localDownloadsMax + localImportsMax + 2 * localQuestionsMax,
  // What waits for its tool was waited for before the server is closed.
  closeTimeoutMs: 1000,
}

/** What the socket needs. */
export interface LocalSocketParts {
  readonly world: World
  readonly tasks: Tasks
  readonly signals: Signals
  /** Absolute. */
  readonly path: string
  /** Folder of the store on disk, if there is one. */
  readonly storeDir: string | undefined
}

/** The socket for tools of this user, listening. */
export interface LocalSocket {
  /** The peer is put together: calls that came earlier go on. */
  begin(): void
  /** Where it is and what is under way, as plain data. */
  explain(): unknown
  /** Waits for calls under way as long as their tools take what they get, then removes the socket. At once without time. */
  close(timeoutMs: number): Promise<void>
}

/** Listens on a unix socket. A socket that a dead process left there is replaced. @throws PeerError LISTEN_FAILED */
export async function openLocalSocket(parts: LocalSocketParts): Promise<LocalSocket> {
  const { world, tasks, signals, path, storeDir } = parts
  const ready = deferred<void>()
  const calls = new Calls({ ready: ready.promise, signals, clock: world.clock })
  const prefetches = new Prefetches(tasks, signals)
  const deliveries = new Deliveries({ world, tasks, calls, prefetches, storeDir })
  const health = new Health()
  const routes = localRoutes({ world, tasks, calls, deliveries })
  const server = await serveRpc({
    path,
    mode: socketMode,
    streamHeaders: 'first',
    limits,
    routes: (router) => {
      router.service(HealthService, health.service)
      routes(router)
    },
  })
  return {
    begin: () => {
      ready.resolve()
      health.set('dfdaemon.v2.DfdaemonDownload', 'serving')
    },
    explain: () => ({ path, calls: calls.counts }),
    close: async (timeoutMs) => {
      if (timeoutMs > 0) await calls.idle()
      else server.destroy()
      await server.close()
      await calls.ended()
      await prefetches.ended()
      await deliveries.close()
    },
  }
}

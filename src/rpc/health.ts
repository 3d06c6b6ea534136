import { Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect'

import {
  type Health as HealthService,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from './gen/grpc/health/v1/health_pb.ts'

/** What a service can be. */
export type HealthStatus = 'serving' | 'not-serving'

/**
 * The standard health service: `Check` and `Watch` for the server as a whole (`''`) and for named services.
 *
 * Starts with `''` serving; other names are unknown until they are set.
 *
 * @example
 * ```ts
 * const health = new Health()
 * const routes = (router: ConnectRouter) => router.service(HealthService, health.service)
 * health.set('dfdaemon.v2.DfdaemonUpload', 'serving')
 * ```
 */
export class Health {
  readonly #statuses = new Map<string, HealthStatus>([['', 'serving']])
  /** One per open `Watch`; the server bounds the calls. */
  readonly #watchers = new Set<() => void>()

  /** Implementation for `router.service(HealthService, …)`. */
  readonly service: ServiceImpl<typeof HealthService> = {
    check: ({ service }) => ({ status: this.#checked(service) }),
    watch: ({ service }, context) => this.#watch(service, context),
  }

  /** Changes the status of a service and tells who watches it. */
  set(service: string, status: HealthStatus): void {
    this.#statuses.set(service, status)
    for (const wake of this.#watchers) wake()
  }

  #checked(service: string): ServingStatus {
    const status = this.#status(service)
    if (status === ServingStatus.SERVICE_UNKNOWN) {
      throw new ConnectError('Unknown service', Code.NotFound)
    }
    return status
  }

  /** The last status counts: a watcher that is slow misses those between. */
  async *#watch(
    service: string,
    { signal }: HandlerContext,
  ): AsyncGenerator<{ status: ServingStatus }> {
    let wake = (): void => undefined
    const watcher = (): void => wake()
    this.#watchers.add(watcher)
    signal.addEventListener('abort', watcher, { once: true })
    try {
      let told: ServingStatus | undefined
      while (!signal.aborted) {
        const changed = new Promise<void>((resolve) => {
          wake = resolve
        })
        const status = this.#status(service)
        if (status === told) await changed
        else yield { status }
        told = status
      }
    } finally {
      this.#watchers.delete(watcher)
      signal.removeEventListener('abort', watcher)
    }
  }

  #status(service: string): ServingStatus {
    const status = this.#statuses.get(service)
    if (status === undefined) return ServingStatus.SERVICE_UNKNOWN
    return status === 'serving' ? ServingStatus.SERVING : ServingStatus.NOT_SERVING
  }
}

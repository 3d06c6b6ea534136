import { lookup } from 'node:dns/promises'

import { createClient } from '@connectrpc/connect'

import { PeerError } from '../errors.ts'
import { addressText, parseAddress } from '../rpc/address.ts'
import type { Channel } from '../rpc/channel.ts'
import { present, shortText, u64 } from '../rpc/convert.ts'
import { type HostFigures, isAddress, isPort } from '../rpc/convert-host.ts'
import { Health, HealthCheckResponse_ServingStatus } from '../rpc/gen/grpc/health/v1/health_pb.ts'
import {
  type ListSchedulersResponse,
  Manager,
  type Scheduler as SchedulerEntry,
  SourceType,
} from '../rpc/gen/manager/v2/manager_pb.ts'
import { rpcError } from '../rpc/rpc-error.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import { abortable, Scope } from '../util/scope.ts'
import { unavailable } from './failure.ts'
import { Vigil } from './vigil.ts'

/** Schedulers that are taken from a manager or a name, at most. */
export const schedulersMax = 256
/** Health checks that run at the same time, at most. */
export const healthChecksMax = 16
/** Time for one health check, connecting included, in milliseconds. */
export const healthCheckMs = 3_000
/** Time for the question to a manager that gives signs of life, in milliseconds. */
export const managerCallMs = 10_000
/** Pause after a look that failed, in milliseconds. While a scheduler is known it doubles from failure to failure, up to the pause between two looks. */
export const emptyRetryMs = 2_000
/** Least time between the beginnings of two looks, in milliseconds, however many schedulers are lost. */
export const hurryMs = 2_000

/** Where the addresses come from. */
export type SchedulerSource =
  | { readonly is: 'addresses'; readonly addresses: readonly string[] }
  | { readonly is: 'manager'; readonly address: string }

/** What a `Discovery` works with. */
export interface DiscoveryOptions {
  readonly source: SchedulerSource
  /** Makes a channel to a manager, or to a scheduler whose health is asked. Closed after each use. */
  readonly open: (address: string) => Channel
  /** By which the manager chooses a cluster: addresses, names and places. */
  readonly host: () => Pick<
    HostFigures,
    'hostname' | 'ip' | 'seed' | 'idc' | 'location' | 'version' | 'schedulerClusterId'
  >
  /** Told of each new list that differs from the one before. */
  readonly onChange?: (addresses: readonly string[]) => void
  /** Addresses of a host name. @defaultValue what the system says, IPv4 before IPv6 */
  readonly resolve?: (name: string) => Promise<readonly string[]>
  /** Milliseconds between two looks. @defaultValue 60000 */
  readonly refreshIntervalMs?: number
  /** @defaultValue `systemClock` */
  readonly clock?: Clock
}

/**
 * Finds the schedulers, and keeps looking (controlplane 4.1 and 4.2).
 *
 * Given addresses are used as they are; a name stands for all its IPv4 addresses, or all its IPv6 addresses when it has no other, and is looked
 * up again and again. A manager's list is checked first, because it also names schedulers that are gone: only those that answer are used, and of them the
 * cluster of the first. When a look fails the list before stays.
 */
export class Discovery {
  readonly #options: DiscoveryOptions
  readonly #clock: Clock
  readonly #lifetime = new AbortController()
  readonly #vigil: Vigil
  #addresses: readonly string[] = []
  #running: Promise<readonly string[]> | undefined
  #lastError: string | undefined
  #release: () => void = () => undefined
  #failures = 0
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(options: DiscoveryOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#vigil = new Vigil(this.#clock)
  }

  /** The schedulers as found last, `ip:port`, sorted. */
  get addresses(): readonly string[] {
    return this.#addresses
  }

  /**
   * Looks now, and from then on again and again. The looking goes on after a failure.
   *
   * @throws PeerError SCHEDULER_UNAVAILABLE when nothing was found and nothing is known from before, CLOSED
   */
  async start(signal: AbortSignal): Promise<readonly string[]> {
    using scope = new Scope([signal, this.#lifetime.signal])
    scope.signal.throwIfAborted()
    return await abortable(this.#look(), scope.signal)
  }

  /** A scheduler does not answer any more: looks sooner than planned, because another one may have taken its place. */
  hurry(): void {
    if (this.#lifetime.signal.aborted || this.#running !== undefined || !this.#moves) return
    this.#planIn(Math.max(0, this.#lookedAt + hurryMs - this.#clock.now()))
  }

  /** What is known, as plain data. */
  explain(): unknown {
    return { addresses: this.#addresses, looking: this.#running !== undefined, ...this.#trouble() }
  }

  /** Looks no more. Safe to call twice. */
  close(): void {
    const what = 'The search for schedulers'
    this.#lifetime.abort(new PeerError('CLOSED', `${what} was closed`, { what }))
    this.#vigil.close()
    this.#release()
  }

  #trouble(): { readonly lastError?: string } {
    return this.#lastError === undefined ? {} : { lastError: this.#lastError }
  }

  /** Never two at once. */
  #look(): Promise<readonly string[]> {
    this.#running ??= this.#refresh().finally(() => {
      this.#running = undefined
      this.#plan()
    })
    return this.#running
  }

  async #refresh(): Promise<readonly string[]> {
    this.#release()
    this.#lookedAt = this.#clock.now()
    try {
      const found = [...new Set(await this.#find())].toSorted()
      if (found.length === 0) throw new TypeError('No scheduler answers')
      this.#lastError = undefined
      this.#failures = 0
      this.#take(found)
    } catch (error) {
      const reason = shortText(rpcError(error).reason, 256)
      this.#lastError = reason
      this.#failures++
      // What was found before may still be right.
      if (this.#addresses.length === 0) throw unavailable(this.#asked(), reason, error)
    }
    return this.#addresses
  }

  #take(found: readonly string[]): void {
    if (this.#lifetime.signal.aborted || found.join() === this.#addresses.join()) return
    this.#addresses = found
    this.#options.onChange?.(found)
  }

  #plan(): void {
    if (this.#lifetime.signal.aborted) return
    if (this.#lastError === undefined && !this.#moves) return
    const { refreshIntervalMs = 60_000 } = this.#options
    if (this.#failures === 0) return this.#planIn(refreshIntervalMs)
    const doublings = this.#addresses.length === 0 ? 0 : Math.min(this.#failures - 1, 16)
    this.#planIn(Math.min(emptyRetryMs * 2 ** doublings, refreshIntervalMs))
  }

  /** Whether what is found can change. Literal addresses stay what they are. */
  get #moves(): boolean {
    const { source } = this.#options
    return source.is === 'manager' || source.addresses.some(isName)
  }

  #planIn(pauseMs: number): void {
    this.#release()
    this.#release = this.#clock.after(pauseMs, () => {
      // The failure is in `explain()`, and the next look is planned.
      this.#look().catch(() => undefined)
    })
  }

  #asked(): readonly string[] {
    const { source } = this.#options
    return source.is === 'manager' ? [source.address] : source.addresses
  }

  async #find(): Promise<readonly string[]> {
    const { source } = this.#options
    if (source.is === 'manager') return this.#askManager(source.address)
    const lists = await Promise.all(source.addresses.map((address) => this.#literal(address)))
    return lists.flat()
  }

  async #literal(address: string): Promise<readonly string[]> {
    if (!isName(address)) return [address]
    const target = parseAddress(address)
    if ('path' in target) return [address]
    const ips = await (this.#options.resolve ?? resolveName)(target.host)
    return ips.slice(0, schedulersMax).map((ip) => addressText({ ip, port: target.port }))
  }

  async #askManager(address: string): Promise<readonly string[]> {
    const { open, host } = this.#options
    const { hostname, ip, seed, idc, location, version, schedulerClusterId } = host()
    const channel = open(address)
    try {
      const request = {
        sourceType: seed ? SourceType.SEED_PEER_SOURCE : SourceType.PEER_SOURCE,
        hostname: nameForManager(hostname),
        ip,
        version: version ?? '',
        schedulerClusterId: u64(schedulerClusterId ?? 0),
        ...present({ idc, location }),
      }
      const manager = createClient(Manager, channel)
      const ask = (signal: AbortSignal): Promise<ListSchedulersResponse> =>
        manager.listSchedulers(request, { signal, timeoutMs: managerCallMs })
      const { schedulers } = await this.#vigil.call(channel, ask, this.#lifetime.signal)
      return await this.#serving(schedulers.slice(0, schedulersMax))
    } finally {
      channel.close()
    }
  }

  /** Those that answer, in the cluster of the first that does. */
  async #serving(list: readonly SchedulerEntry[]): Promise<readonly string[]> {
    const usable = list.filter(({ ip, port }) => isAddress(ip) && isPort(port))
    const healthy = await inTurn(usable, healthChecksMax, (entry) => this.#isServing(entry))
    const first = usable.find((_, at) => healthy[at] === true)
    return usable
      .filter((entry, at) => healthy[at] === true && sameCluster(entry, first))
      .map(({ ip, port }) => addressText({ ip, port }))
  }

  async #isServing({ ip, port }: SchedulerEntry): Promise<boolean> {
    const channel = this.#options.open(addressText({ ip, port }))
    try {
      const options = { signal: this.#lifetime.signal, timeoutMs: healthCheckMs }
      const { status } = await createClient(Health, channel).check({ service: '' }, options)
      return status === HealthCheckResponse_ServingStatus.SERVING
    } catch {
      // Whatever it was: this one is not to be used now.
      return false
    } finally {
      channel.close()
    }
  }
}

function sameCluster(a: SchedulerEntry, b: SchedulerEntry | undefined): boolean {
  return a.schedulerClusterId === b?.schedulerClusterId
}

/** Whether the address has a name in it that has to be looked up. */
function isName(address: string): boolean {
  const target = parseAddress(address)
  return 'host' in target && !isAddress(target.host)
}

async function resolveName(name: string): Promise<readonly string[]> {
  const found = await lookup(name, { all: true })
  const v4 = found.filter(({ family }) => family === 4)
  return (v4.length > 0 ? v4 : found).map(({ address }) => address)
}

/** A manager refuses a host name with an underscore (controlplane 4.2), though hosts have such names. It only serves to choose a cluster. */
function nameForManager(hostname: string): string {
  const name = hostname.replaceAll(/[^a-z0-9.-]+/gi, '-').replaceAll(/^[-.]+|[-.]+$/g, '')
  return name === '' ? 'peer' : name.slice(0, 253)
}

/** Runs one call per item, at most so many at a time; the results in the order of the items. */
async function inTurn<T, R>(
  items: readonly T[],
  most: number,
  call: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = []
  const ahead = items.entries()
  const work = async (): Promise<void> => {
    for (const [at, item] of ahead) results[at] = await call(item)
  }
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, work))
  return results
}

import type { ConnectRouter } from '@connectrpc/connect'
import { PeerError } from '../errors.ts'
import { type Channel, localChannel, openChannel } from '../rpc/channel.ts'
import type { HostFigures } from '../rpc/convert-host.ts'
import { Health as HealthService } from '../rpc/gen/grpc/health/v1/health_pb.ts'
import { Health } from '../rpc/health.ts'
import { serveRpc } from '../rpc/server.ts'
import type { SchedulerClient } from '../scheduler/client.ts'
import { Discovery, type SchedulerSource } from '../scheduler/discovery.ts'
import { EmbeddedScheduler } from '../scheduler/embedded/scheduler.ts'
import type { Clock } from '../util/clock.ts'
import type { Closing } from './closing.ts'
import type { HostChannels } from './host-channels.ts'
import { type Addresses, addressOf } from './listening.ts'
import { closeServer, portOf, serverTls } from './rpc-server.ts'
import type { Settings } from './settings.ts'

/** How the schedulers of a peer are reached. */
export interface Scheduling {
  /** The ones that are known from the start. */
  readonly addresses: readonly string[]
  readonly open: (address: string) => Channel
  /** By which other peers join. */
  readonly address: string
  /** Finds the schedulers that are not known yet, and keeps looking. Never throws: who is not found now is found later. */
  find(scheduler: SchedulerClient, host: () => HostFigures, lifetime: AbortSignal): Promise<void>
  /** A scheduler answers no more: others are looked for soon. */
  lost(): void
  /** State of the embedded scheduler, or of the search. */
  explain(): unknown
}

/** What the scheduling stands on. */
export interface SchedulingParts extends Addresses {
  readonly channels: HostChannels
  readonly clock: Clock
  readonly closing: Closing
}

/** Runs the embedded scheduler, or finds the ones that were named. The embedded one is reached without a port from inside and listens for others. */
export async function openScheduling(
  settings: Settings,
  parts: SchedulingParts,
): Promise<Scheduling> {
  const { scheduler } = settings
  switch (scheduler.is) {
    case 'embedded':
      return embed(settings, parts)
    case 'addresses':
      return search(scheduler, scheduler.addresses[0] ?? '', settings, parts)
    case 'manager':
      return search(scheduler, scheduler.address, settings, parts)
  }
}

function search(
  source: SchedulerSource,
  address: string,
  settings: Settings,
  { closing, clock }: SchedulingParts,
): Scheduling {
  const tls = settings.tls === undefined ? {} : { tls: settings.tls.credentials.channel }
  const open = (to: string): Channel => openChannel({ address: to, ...tls })
  let discovery: Discovery | undefined
  return {
    addresses: [],
    open,
    address,
    async find(scheduler, host, lifetime) {
      const onChange = (addresses: readonly string[]): void => scheduler.setAddresses(addresses)
      const found = new Discovery({ source, open, host, onChange, clock })
      closing.add(async () => found.close())
      discovery = found
      try {
        scheduler.setAddresses(await found.start(lifetime))
      } catch (error) {
        if (!PeerError.is(error, 'SCHEDULER_UNAVAILABLE')) throw error
      }
    },
    lost: () => discovery?.hurry(),
    explain: () => discovery?.explain(),
  }
}

async function embed(settings: Settings, parts: SchedulingParts): Promise<Scheduling> {
  const { channels, clock, closing, hostIp, listenIp } = parts
  const embedded = new EmbeddedScheduler({
    dial: (host) => channels.to(host.ip, host.port),
    clock,
    random: Math.random,
  })
  closing.add(async () => embedded.close())
  const health = new Health()
  const routes = (router: ConnectRouter): void => {
    router.service(HealthService, health.service)
    embedded.routes(router)
  }
  const server = await serveRpc({
    host: listenIp,
    port: settings.listen.schedulerPort,
    routes,
    ...serverTls(settings),
  })
  closing.add((timeoutMs) => closeServer(server, timeoutMs))
  const address = addressOf(hostIp, portOf(server))
  return {
    addresses: [address],
    open: () => localChannel(routes),
    address,
    find: async () => undefined,
    lost: () => undefined,
    explain: () => embedded.explain(),
  }
}

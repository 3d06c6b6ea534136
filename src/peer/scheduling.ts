import type { ConnectRouter } from '@connectrpc/connect'
import { type Channel, localChannel, openChannel } from '../rpc/channel.ts'
import { Health as HealthService } from '../rpc/gen/grpc/health/v1/health_pb.ts'
import { Health } from '../rpc/health.ts'
import { serveRpc } from '../rpc/server.ts'
import { EmbeddedScheduler } from '../scheduler/embedded/scheduler.ts'
import type { Clock } from '../util/clock.ts'
import type { Closing } from './closing.ts'
import type { HostChannels } from './host-channels.ts'
import { type Addresses, addressOf } from './listening.ts'
import { closeServer, portOf } from './rpc-server.ts'
import type { Settings } from './settings.ts'

/** How the schedulers of a peer are reached. */
export interface Scheduling {
  readonly addresses: readonly string[]
  readonly open: (address: string) => Channel
  /** By which other peers join. */
  readonly address: string
  /** State of the embedded scheduler, if there is one. */
  readonly explain: (() => unknown) | undefined
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
      return named(scheduler.addresses)
    case 'manager':
      return named([scheduler.address])
  }
}

function named(addresses: readonly string[]): Scheduling {
  return {
    addresses,
    open: (address) => openChannel({ address }),
    address: addresses[0] ?? '',
    explain: undefined,
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
  const server = await serveRpc({ host: listenIp, port: settings.listen.schedulerPort, routes })
  closing.add((timeoutMs) => closeServer(server, timeoutMs))
  const address = addressOf(hostIp, portOf(server))
  return {
    addresses: [address],
    open: () => localChannel(routes),
    address,
    explain: () => embedded.explain(),
  }
}

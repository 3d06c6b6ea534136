import os from 'node:os'
import type { ConnectRouter } from '@connectrpc/connect'
import { PeerError } from '../errors.ts'
import { hostId, peerId } from '../hash/host-id.ts'
import { localChannel } from '../rpc/channel.ts'
import type { HostFigures } from '../rpc/convert-host.ts'
import { Health as HealthService } from '../rpc/gen/grpc/health/v1/health_pb.ts'
import { Health } from '../rpc/health.ts'
import { serveRpc } from '../rpc/server.ts'
import { SchedulerClient } from '../scheduler/client.ts'
import { file } from '../source/file.ts'
import { http } from '../source/http.ts'
import { Sources } from '../source/sources.ts'
import type { Store } from '../storage/store.ts'
import type { RdmaControl } from '../transport/rdma/control.ts'
import { Routes } from '../transport/routes.ts'
import { tcp } from '../transport/tcp/tcp.ts'
import type { Transport } from '../transport/transport.ts'
import { systemClock } from '../util/clock.ts'
import { TokenBucket } from '../util/rate.ts'
import { Scope } from '../util/scope.ts'
import { FairSlots } from '../util/fair-slots.ts'
import { Announcements } from './announcements.ts'
import { Closing } from './closing.ts'
import { HostChannels } from './host-channels.ts'
import { HostGauge } from './host-figures.ts'
import { Live } from './live.ts'
import { type Addresses, addressesOf, addressOf } from './listening.ts'
import { openLocalSocket } from './local/socket.ts'
import { MeteredGate, usableRate } from './metered-gate.ts'
import { openStores } from './open-store.ts'
import { ParentFeed } from './parent-feed.ts'
import { GrpcRdmaControl } from './rdma-control.ts'
import { closeServer, portOf, serverTls } from './rpc-server.ts'
import { openScheduling } from './scheduling.ts'
import type { Settings } from './settings.ts'
import { Shelves } from './shelves.ts'
import { Tasks } from './tasks.ts'
import { TransportMemory } from './transport-memory.ts'
import { Trigger } from './trigger.ts'
import { type UploadServiceParts, uploadRoutes } from './upload-service.ts'
import type { PeerUsage } from './usage.ts'
import type { HostIdentity, Signals, World } from './world.ts'

/** Milliseconds that the schedulers have for taking the leave of this host. */
export const leaveTimeoutMs: number = 1000

/** One peer, put together and running. */
export interface Assembly {
  readonly world: World
  readonly tasks: Tasks
  /** Of the upload service. */
  readonly address: string
  /** By which others join. */
  readonly schedulerAddress: string
  /** Memory into which a transport reads without a copy; undefined when none has such memory now. */
  allocate(byteLength: number): Promise<ArrayBuffer | undefined>
  explain(): Record<string, unknown>
  usage(): PeerUsage
  /** Frees everything, the latest first. Uploads may go on for this long. */
  close(timeoutMs: number): Promise<void>
}

/** Opens, listens and connects all parts of a peer. What was opened is closed again when a later part fails. */
export async function assemble(settings: Settings, signals: Signals): Promise<Assembly> {
  const closing = new Closing()
  try {
    return await build(settings, signals, closing)
  } catch (error) {
    await closing.run(0)
    throw error
  }
}

/** Steps in the order in which one needs the other; each adds what frees it. */
async function build(
  settings: Settings,
  { lifetime, closing: ending }: Signals,
  closing: Closing,
): Promise<Assembly> {
  const clock = systemClock
  const addresses = addressesOf(settings)
  const transportMemory = new TransportMemory()
  const { store, memory, dir } = await openStores(settings, clock, transportMemory)
  const stores = store === memory ? [memory] : [memory, store]
  for (const each of stores) closing.add(() => each.close())
  const sources = new Sources([http(), file()], settings.sources)
  closing.add(() => sources.close())
  const channels = new HostChannels(settings.tls?.credentials.channel)
  closing.add(async () => channels.close())

  const upload = await serveUploads(settings, addresses, closing)
  const limits = new Live(settings.limits)
  const uploadPlaces = new FairSlots(settings.limits.uploadSlots)
  const uploadGate = gate(settings.limits.uploadBytesPerSecond)
  const rdma = new GrpcRdmaControl(channels)
  const transports = makeTransports(settings, addresses, {
    stores,
    uploadRate: uploadGate,
    uploadPlaces,
    rdma,
  })
  transportMemory.use(transports)
  for (const each of transports) closing.add((timeoutMs) => each.close(timeoutMs))
  const host = await identify(settings, addresses, upload.port, transports)
  const address = addressOf(host.ip, host.port)
  channels.register(address, localChannel(upload.routes))

  const scheduling = await openScheduling(settings, { ...addresses, channels, clock, closing })
  const downloadGate = gate(settings.limits.downloadBytesPerSecond)
  limits.onChange(() => {
    const { uploadSlots, uploadBytesPerSecond, downloadBytesPerSecond, memoryBytesMax } = limits.now
    uploadPlaces.setCount(uploadSlots)
    uploadGate.setRate(uploadBytesPerSecond)
    downloadGate.setRate(downloadBytesPerSecond)
    memory.setBytesMax(memoryBytesMax)
  })
  const gauge = new HostGauge({
    host,
    settings,
    limits: () => limits.now,
    storeDir: dir ?? '.',
    clock,
    sentBytes: () => uploadGate.bytes,
    receivedBytes: () => downloadGate.bytes,
  })
  const figures = (): HostFigures => gauge.figures()
  const scheduler = new SchedulerClient({
    addresses: scheduling.addresses,
    open: scheduling.open,
    host: figures,
    onFound: (found) => announcements.found(found),
    onRing: () => announcements.all(),
    onLost: () => scheduling.lost(),
    clock,
  })
  closing.add(async () => scheduler.close())
  const newPeerId = (): string => peerId({ ...host, seedPeer: settings.seedPeer })
  const announcements = new Announcements({ scheduler, stores, newPeerId, clock, lifetime })
  closing.add(() => announcements.close())

  const world: World = {
    settings,
    limits,
    clock,
    host,
    store,
    memory,
    stores,
    sources,
    scheduler,
    announcements,
    downloadGate,
    newPeerId,
    ports: {
      announcer: scheduler,
      feed: new ParentFeed(channels, host.id),
      reader: new Routes(transports),
      clock,
      random: Math.random,
      newPeerId,
    },
  }
  const tasks = new Tasks(world)
  const serving = new AbortController()
  upload.begin({
    world,
    tasks,
    closing: serving.signal,
    trigger: new Trigger(world, tasks, { lifetime, closing: ending }),
    hostNews: {
      clock,
      sentBytes: () => uploadGate.bytes,
      get sendBytesPerSecondMax() {
        return gauge.maxTx / 8
      },
    },
    rdma: transports.find((each) => each.rdma !== undefined)?.rdma,
  })
  closing.add(async () => {
    serving.abort(new PeerError('CLOSED', 'The peer is closing', { what: 'peer' }))
    await leave(scheduler)
  })
  const local =
    settings.socketPath === undefined
      ? undefined
      : await openLocalSocket({
          world,
          tasks,
          signals: { lifetime, closing: ending },
          path: settings.socketPath,
          storeDir: dir,
        })
  if (local !== undefined) closing.add((timeoutMs) => local.close(timeoutMs))
  await scheduling.find(scheduler, figures, lifetime)
  await join(scheduler, lifetime)
  local?.begin()
  return {
    world,
    tasks,
    allocate: (byteLength) => transportMemory.allocate(byteLength, true),
    address,
    schedulerAddress: scheduling.address,
    explain: () => ({
      host: { ...host, seedPeer: settings.seedPeer },
      tasks: tasks.explain(),
      stores: stores.map((each) => ({ name: each.name, ...each.usage() })),
      transports: transports.map((each) => ({ name: each.name, state: each.explain() })),
      scheduler: scheduler.explain(),
      scheduling: scheduling.explain(),
      ...(local === undefined ? {} : { socket: local.explain() }),
    }),
    usage: () => ({
      ...(store === memory ? {} : { disk: store.usage() }),
      memory: memory.usage(),
    }),
    close: (timeoutMs) => closing.run(timeoutMs),
  }
}

/**
 * The server of the upload service. Its port names the host and the service needs the host, so the service begins later than the server; until then it is
 * unavailable.
 */
async function serveUploads(
  settings: Settings,
  { listenIp }: Addresses,
  closing: Closing,
): Promise<{
  readonly port: number
  readonly routes: (router: ConnectRouter) => void
  begin(parts: UploadServiceParts): void
}> {
  let begun: UploadServiceParts | undefined
  const health = new Health()
  const routes = (router: ConnectRouter): void => {
    router.service(HealthService, health.service)
    uploadRoutes(() => begun)(router)
  }
  const server = await serveRpc({
    host: listenIp,
    port: settings.listen.port,
    routes,
    ...serverTls(settings),
  })
  closing.add((timeoutMs) => closeServer(server, timeoutMs))
  return {
    port: portOf(server),
    routes,
    begin: (parts) => {
      begun = parts
      health.set('dfdaemon.v2.DfdaemonUpload', 'serving')
    },
  }
}

function makeTransports(
  settings: Settings,
  { listenIp, hostIp }: Addresses,
  {
    stores,
    uploadRate,
    uploadPlaces,
    rdma,
  }: {
    readonly stores: readonly Store[]
    readonly uploadRate: MeteredGate
    readonly uploadPlaces: FairSlots
    readonly rdma: RdmaControl
  },
): Transport[] {
  const factories = settings.transports.length === 0 ? [tcp()] : settings.transports
  return factories.map((make) =>
    make({
      shelf: new Shelves(stores),
      listen: { ip: listenIp, port: settings.listen.tcpPort },
      uploadRate,
      uploadSlots: settings.limits.uploadSlots,
      uploadPlaces,
      clock: systemClock,
      hostIp,
      rdma,
    }),
  )
}

/** Starts the transports, and names the host: two peers of one machine differ in their ports. */
async function identify(
  settings: Settings,
  { hostIp: ip }: Addresses,
  port: number,
  transports: readonly Transport[],
): Promise<HostIdentity> {
  let tcpPort: number | undefined
  for (const each of transports) {
    const place = await each.listen()
    if (each.name === 'tcp') tcpPort = place?.port
  }
  // Managers take only the characters of a DNS name (RFC 1034).
  const machine = os.hostname().replace(/[^A-Za-z0-9-]/g, '-')
  const hostname = settings.host.hostname ?? `${machine}-${port}`
  const id = hostId({ ip, hostname, seedPeer: settings.seedPeer })
  return { id, ip, hostname, port, tcpPort }
}

function gate(bytesPerSecond: number | undefined): MeteredGate {
  const rate = usableRate(bytesPerSecond)
  return new MeteredGate(new TokenBucket({ bytesPerSecond: rate, clock: systemClock }))
}

/** Makes this host known. A scheduler that is down is tried again and again in the background. */
async function join(scheduler: SchedulerClient, lifetime: AbortSignal): Promise<void> {
  try {
    await scheduler.announceHost(lifetime)
  } catch (error) {
    if (!PeerError.is(error, 'SCHEDULER_UNAVAILABLE', 'SCHEDULER_REFUSED')) throw error
  }
}

/** Tells the schedulers that this host goes, within a bound. */
async function leave(scheduler: SchedulerClient): Promise<void> {
  const bound = new PeerError('CLOSED', 'The scheduler did not answer in time', {
    what: 'scheduler',
  })
  using scope = new Scope([], { timeoutMs: leaveTimeoutMs, onTimeout: () => bound })
  try {
    await scheduler.deleteHost(scope.signal)
  } catch (error) {
    // It finds out by itself when the announcements stay away.
    if (error !== bound) throw error
  }
}

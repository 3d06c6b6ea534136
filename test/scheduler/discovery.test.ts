import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'

import { Code, ConnectError } from '@connectrpc/connect'

import { PeerError } from '../../src/errors.ts'
import { type Channel, localChannel } from '../../src/rpc/channel.ts'
import {
  Health,
  HealthCheckResponse_ServingStatus,
} from '../../src/rpc/gen/grpc/health/v1/health_pb.ts'
import { type ListSchedulersRequest, Manager } from '../../src/rpc/gen/manager/v2/manager_pb.ts'
import { Discovery, type DiscoveryOptions } from '../../src/scheduler/discovery.ts'
import { beatMs, deadBeats } from '../../src/task/pulse.ts'
import { deferred } from '../../src/util/deferred.ts'
import { VirtualClock } from '../sim/clock.ts'

const signal = new AbortController().signal
const { SERVING, NOT_SERVING } = HealthCheckResponse_ServingStatus

type Entry = { readonly ip: string; readonly port: number; readonly cluster?: bigint }

/** A manager and its schedulers, without a socket. */
class Town {
  list: readonly Entry[] = []
  readonly sick = new Set<string>()
  readonly dead = new Set<string>()
  readonly requests: ListSchedulersRequest[] = []
  managerDown = false
  /** It answers no question. */
  managerHangs = false
  /** Whoever is asked for a sign of life gives one. */
  alive = true
  checks = 0
  most = 0
  open = 0

  channel(address: string): Channel {
    this.open++
    const channel = localChannel((router) => {
      router.service(Manager, {
        listSchedulers: (request) => {
          this.requests.push(request)
          if (this.managerDown) throw new ConnectError('Down', Code.Unavailable)
          if (this.managerHangs) return deferred<never>().promise
          const schedulers = this.list.map(({ ip, port, cluster = 1n }) => {
            return { ip, port, schedulerClusterId: cluster, schedulerCluster: { id: cluster } }
          })
          return { schedulers }
        },
      })
      router.service(Health, {
        check: async () => {
          this.checks++
          this.most = Math.max(this.most, this.checks)
          await new Promise((resolve) => setImmediate(resolve))
          this.checks--
          if (this.dead.has(address)) throw new ConnectError('Down', Code.Unavailable)
          return { status: this.sick.has(address) ? NOT_SERVING : SERVING }
        },
      })
    })
    return {
      ...channel,
      ping: () => (this.alive ? Promise.resolve() : deferred<void>().promise),
      close: () => {
        this.open--
        channel.close()
      },
    }
  }
}

function discoveryFor(
  t: TestContext,
  town: Town,
  clock: VirtualClock,
  more: Partial<DiscoveryOptions> = {},
): Discovery {
  const discovery = new Discovery({
    source: { is: 'manager', address: '10.0.0.9:65003' },
    open: (address) => town.channel(address),
    host: () => ({ hostname: 'peer_1', ip: '10.0.0.7', seed: false, idc: 'x' }),
    clock,
    ...more,
  })
  t.after(() => discovery.close())
  return discovery
}

test('Discovery takes addresses as they are, and looks no more', async (t) => {
  const clock = new VirtualClock()
  const source = {
    is: 'addresses',
    addresses: ['10.0.0.2:8002', '10.0.0.1:8002', '10.0.0.2:8002'],
  } as const
  const discovery = discoveryFor(t, new Town(), clock, { source })
  assert.deepEqual(await discovery.start(signal), ['10.0.0.1:8002', '10.0.0.2:8002'])
  assert.deepEqual(discovery.addresses, ['10.0.0.1:8002', '10.0.0.2:8002'])
  assert.equal(clock.pending, 0)
})

test('Discovery looks names up, again and again', async (t) => {
  const clock = new VirtualClock()
  let ips = ['10.0.0.2', '10.0.0.1']
  const changes: (readonly string[])[] = []
  const discovery = discoveryFor(t, new Town(), clock, {
    source: { is: 'addresses', addresses: ['schedulers.test:8002', '[::1]:8002'] },
    resolve: async (name) => {
      assert.equal(name, 'schedulers.test')
      return ips
    },
    onChange: (addresses) => void changes.push(addresses),
  })
  assert.deepEqual(await discovery.start(signal), ['10.0.0.1:8002', '10.0.0.2:8002', '[::1]:8002'])
  await clock.pass(61_000)
  assert.equal(changes.length, 1)
  ips = ['10.0.0.3']
  await clock.pass(61_000)
  assert.deepEqual(changes[1], ['10.0.0.3:8002', '[::1]:8002'])
})

test('Discovery takes the schedulers that answer, of the cluster of the first', async (t) => {
  const town = new Town()
  town.list = [
    { ip: '10.0.0.1', port: 8002, cluster: 1n },
    { ip: '10.0.0.2', port: 8002, cluster: 2n },
    { ip: '10.0.0.3', port: 8002, cluster: 2n },
    { ip: '10.0.0.4', port: 8002, cluster: 3n },
    { ip: '10.0.0.5', port: 8002, cluster: 2n },
    { ip: 'name.test', port: 8002, cluster: 2n },
    { ip: '10.0.0.6', port: 0, cluster: 2n },
    { ip: '2001:db8::1', port: 8002, cluster: 2n },
  ]
  town.dead.add('10.0.0.1:8002')
  town.sick.add('10.0.0.3:8002')
  const discovery = discoveryFor(t, town, new VirtualClock())
  assert.deepEqual(await discovery.start(signal), [
    '10.0.0.2:8002',
    '10.0.0.5:8002',
    '[2001:db8::1]:8002',
  ])
  assert.equal(town.open, 0)
  const [request] = town.requests
  assert.equal(request?.hostname, 'peer-1')
  assert.equal(request?.ip, '10.0.0.7')
  assert.equal(request?.idc, 'x')
  assert.equal(request?.sourceType, 1)
})

test('Discovery keeps the list when a look fails', async (t) => {
  const clock = new VirtualClock()
  const town = new Town()
  town.list = [{ ip: '10.0.0.1', port: 8002 }]
  const changes: (readonly string[])[] = []
  const discovery = discoveryFor(t, town, clock, { onChange: (list) => void changes.push(list) })
  await discovery.start(signal)
  town.managerDown = true
  await clock.pass(60_500)
  assert.equal(town.requests.length, 2)
  // Again after 2 s, 4 s, 8 s.
  await clock.pass(14_500)
  assert.equal(town.requests.length, 5)
  town.managerDown = false
  town.dead.add('10.0.0.1:8002')
  await clock.pass(61_000)
  assert.ok(town.requests.length > 5)
  assert.deepEqual(discovery.addresses, ['10.0.0.1:8002'])
  town.list = [{ ip: '10.0.0.2', port: 8002 }]
  await clock.pass(61_000)
  assert.deepEqual(discovery.addresses, ['10.0.0.2:8002'])
  assert.deepEqual(changes, [['10.0.0.1:8002'], ['10.0.0.2:8002']])
})

test('Discovery looks at once when a scheduler is lost, and not more often than every two seconds', async (t) => {
  const clock = new VirtualClock()
  const town = new Town()
  town.list = [{ ip: '10.0.0.1', port: 8002 }]
  const discovery = discoveryFor(t, town, clock)
  await discovery.start(signal)
  town.list = [{ ip: '10.0.0.2', port: 8002 }]
  discovery.hurry()
  await clock.pass(1_900)
  assert.equal(town.requests.length, 1)
  await clock.pass(200)
  assert.deepEqual(discovery.addresses, ['10.0.0.2:8002'])
  await clock.pass(10_000)
  assert.equal(town.requests.length, 2)
  town.list = [{ ip: '10.0.0.3', port: 8002 }]
  for (let times = 0; times < 5; times++) discovery.hurry()
  await clock.pass(100)
  assert.deepEqual(discovery.addresses, ['10.0.0.3:8002'])
  assert.equal(town.requests.length, 3)
  await clock.pass(60_000)
  assert.equal(town.requests.length, 4)
})

test('Discovery has nothing to hurry for with literal addresses, or when it is closed', async (t) => {
  const clock = new VirtualClock()
  const source = { is: 'addresses', addresses: ['10.0.0.1:8002'] } as const
  const literal = discoveryFor(t, new Town(), clock, { source })
  await literal.start(signal)
  literal.hurry()
  const town = new Town()
  town.list = [{ ip: '10.0.0.1', port: 8002 }]
  const closed = discoveryFor(t, town, clock)
  await closed.start(signal)
  closed.close()
  closed.hurry()
  assert.equal(clock.pending, 0)
})

test('Discovery says when it finds nothing, and soon looks again', async (t) => {
  const clock = new VirtualClock()
  const town = new Town()
  town.managerDown = true
  const discovery = discoveryFor(t, town, clock)
  await assert.rejects(discovery.start(signal), (error) => {
    assert.ok(PeerError.is(error, 'SCHEDULER_UNAVAILABLE'))
    assert.deepEqual(error.details, { addresses: ['10.0.0.9:65003'], reason: 'Down' })
    return true
  })
  town.managerDown = false
  town.list = [{ ip: '10.0.0.1', port: 8002 }]
  await clock.pass(2_100)
  assert.deepEqual(discovery.addresses, ['10.0.0.1:8002'])
})

for (const alive of [true, false]) {
  test(`Discovery ${alive ? 'waits for a manager that is busy' : 'gives up a manager that is silent'}, and answers ${alive ? '' : 'no '}pings`, async (t) => {
    const clock = new VirtualClock()
    const town = new Town()
    town.managerHangs = true
    town.alive = alive
    const discovery = discoveryFor(t, town, clock)
    const told = discovery.start(signal).catch((error: unknown) => error)
    await clock.pass(deadBeats * beatMs)
    const silent = Promise.race([told, clock.settle().then(() => 'nothing')])
    if (alive) assert.equal(await silent, 'nothing')
    else assert.ok(PeerError.is(await silent, 'SCHEDULER_UNAVAILABLE'))
    assert.equal(town.open, alive ? 1 : 0)
    town.managerHangs = false
    town.list = [{ ip: '10.0.0.1', port: 8002 }]
    await clock.pass(2_100)
    assert.deepEqual(discovery.addresses, alive ? [] : ['10.0.0.1:8002'])
    discovery.close()
    assert.equal(clock.pending, 0)
  })
}

test('Discovery asks a manager with hundreds of schedulers for the health of a few at a time', async (t) => {
  const town = new Town()
  town.list = Array.from({ length: 5_000 }, (_, at) => {
    return { ip: `10.0.${Math.floor(at / 250)}.${at % 250}`, port: 8002 }
  })
  const discovery = discoveryFor(t, town, new VirtualClock())
  assert.equal((await discovery.start(signal)).length, 256)
  assert.ok(town.most > 1 && town.most <= 16)
})

test('Discovery looks once for two who ask at the same time', async (t) => {
  const town = new Town()
  town.list = [{ ip: '10.0.0.1', port: 8002 }]
  const discovery = discoveryFor(t, town, new VirtualClock())
  await Promise.all([discovery.start(signal), discovery.start(signal)])
  assert.equal(town.requests.length, 1)
})

test('Discovery gives up for its caller, and stops when it is closed', async (t) => {
  const clock = new VirtualClock()
  const town = new Town()
  const never = deferred<readonly string[]>()
  const discovery = discoveryFor(t, town, clock, {
    source: { is: 'addresses', addresses: ['schedulers.test:8002'] },
    resolve: () => never.promise,
  })
  const end = new AbortController()
  const reason = new Error('Enough')
  const started = discovery.start(end.signal)
  end.abort(reason)
  await assert.rejects(started, (error) => error === reason)
  const other = discovery.start(signal)
  discovery.close()
  discovery.close()
  await assert.rejects(other, (error) => PeerError.is(error, 'CLOSED'))
  never.resolve(['10.0.0.1'])
  await clock.settle()
  assert.deepEqual(discovery.addresses, [])
  assert.equal(clock.pending, 0)
})

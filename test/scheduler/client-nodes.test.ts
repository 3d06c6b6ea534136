import assert from 'node:assert/strict'
import test from 'node:test'

import { Code, ConnectError } from '@connectrpc/connect'

import { PeerError } from '../../src/errors.ts'
import { ringOrder } from '../../src/hash/ring.ts'
import { VirtualClock } from '../sim/clock.ts'
import { clientFor, clientOf, parents, registration, Script, spec, unknownHost } from './script.ts'
import { subscribed } from './subscribed.ts'

const signal = new AbortController().signal

function down(): never {
  throw new ConnectError('Down', Code.Unavailable)
}

test('SchedulerClient.announceHost() tells every scheduler, and goes on to tell it', async (t) => {
  const clock = new VirtualClock()
  const scripts = [new Script(), new Script()]
  const client = clientFor(t, scripts, { clock, announceIntervalMs: 10_000 })
  await client.announceHost(signal)
  await clock.settle()
  assert.deepEqual(
    scripts.map(({ hosts }) => hosts.length),
    [1, 1],
  )
  await clock.pass(30_500)
  assert.deepEqual(
    scripts.map(({ hosts }) => hosts.length),
    [4, 4],
  )
  await client.deleteHost(signal).catch(() => undefined)
  await clock.pass(60_000)
  assert.equal(scripts[0]?.hosts.length, 4)
  assert.equal(clock.pending, 0)
})

test('SchedulerClient.announceHost() is content with one scheduler, and tries the other again', async (t) => {
  const clock = new VirtualClock()
  const scripts = [new Script(), new Script()]
  const [dead] = scripts
  assert.ok(dead !== undefined)
  let isDown = true
  dead.onHost = () => {
    if (isDown) down()
  }
  const lost = subscribed(t, 'dragonfly-peer:scheduler:lost')
  const found = subscribed(t, 'dragonfly-peer:scheduler:found')
  const client = clientFor(t, scripts, { clock, announceIntervalMs: 30_000 })
  await client.announceHost(signal)
  await clock.settle()
  assert.deepEqual(
    lost.map(({ address }) => address),
    ['10.1.0.1:8002'],
  )
  await clock.pass(7_100)
  assert.equal(dead.hosts.length, 4)
  isDown = false
  await clock.pass(8_000)
  assert.deepEqual(
    found.map(({ address }) => address),
    ['10.1.0.2:8002', '10.1.0.1:8002'],
  )
  assert.equal(lost.length, 1)
})

test('SchedulerClient.announceHost() says when nobody can be told, and tries again', async (t) => {
  const clock = new VirtualClock()
  const script = new Script()
  script.onHost = down
  const client = clientFor(t, [script], { clock })
  await assert.rejects(client.announceHost(signal), (error) => {
    assert.ok(PeerError.is(error, 'SCHEDULER_UNAVAILABLE'))
    return true
  })
  script.onHost = () => undefined
  await clock.pass(1_100)
  assert.equal(script.hosts.length, 2)
})

test('SchedulerClient.announceHost() says when it is refused', async (t) => {
  const script = new Script()
  script.onHost = () => {
    throw new ConnectError('No such port', Code.InvalidArgument)
  }
  const client = clientFor(t, [script], { clock: new VirtualClock() })
  await assert.rejects(client.announceHost(signal), (error) =>
    PeerError.is(error, 'SCHEDULER_REFUSED'),
  )
})

test('SchedulerClient.announceHost() gives up for its caller', async (t) => {
  const script = new Script()
  script.more = {
    announceHost: (_, { signal: gone }) =>
      new Promise((__, reject) => {
        gone.addEventListener('abort', () => reject(new ConnectError('Gone', Code.Canceled)))
      }),
  }
  const end = new AbortController()
  const announced = clientFor(t, [script]).announceHost(end.signal)
  const reason = new Error('Enough')
  end.abort(reason)
  await assert.rejects(announced, (error) => error === reason)
})

test('SchedulerClient calls onFound for each scheduler that answers, and for one that forgot the host', async (t) => {
  const clock = new VirtualClock()
  const script = new Script()
  const found: string[] = []
  const onFound = (address: string): void => void found.push(address)
  const client = clientFor(t, [script], { clock, onFound })
  await client.announceHost(signal)
  assert.equal(found.length, 1)
  await clock.pass(100_000)
  assert.equal(found.length, 1)
  let known = false
  script.onRequest = () => {
    if (known) return [parents('p')]
    known = true
    throw new ConnectError('The host is unknown', Code.NotFound)
  }
  await client.open(registration).next(signal)
  assert.equal(found.length, 2)
})

test('SchedulerClient takes a scheduler whose connection broke for one that forgot the host, once in an interval', async (t) => {
  const clock = new VirtualClock()
  const script = new Script()
  const found: string[] = []
  let breaks = (): void => assert.fail('Nobody listens')
  const client = clientFor(t, [script], {
    clock,
    announceIntervalMs: 30_000,
    onFound: (address) => void found.push(address),
    open: () => ({ ...script.open(), onLost: (listener) => void (breaks = listener) }),
  })
  breaks()
  await clock.settle()
  // Nothing was announced yet.
  assert.equal(script.hosts.length, 0)
  await client.announceHost(signal)
  breaks()
  await clock.settle()
  assert.deepEqual([script.hosts.length, found.length], [2, 2])
  for (let second = 0; second < 20; second++) {
    breaks()
    await clock.pass(1000)
  }
  assert.deepEqual([script.hosts.length, found.length], [2, 2])
  await clock.pass(11_000)
  assert.deepEqual([script.hosts.length, found.length], [3, 3])
  script.onHost = down
  breaks()
  await clock.pass(40_000)
  script.onHost = () => undefined
  await clock.pass(31_000)
  // It was down in between, so it was found once and not forgotten as well.
  assert.equal(found.length, 4)
})

test('SchedulerClient tells new schedulers of the host, and forgets old ones', async (t) => {
  const clock = new VirtualClock()
  const scripts = [new Script(), new Script()]
  const options = clientOf(...scripts)
  const [one = '', two = ''] = options.addresses
  const client = clientFor(t, scripts, { clock, addresses: [one] })
  await client.announceHost(signal)
  client.setAddresses([two])
  await clock.settle()
  assert.deepEqual(client.addresses, [two])
  await clock.pass(31_000)
  assert.deepEqual(
    scripts.map(({ hosts }) => hosts.length),
    [1, 2],
  )
  assert.throws(() => client.setAddresses(['name.test:8002', two]), TypeError)
})

test('SchedulerClient lets a session end on a scheduler that is no longer in the list', async (t) => {
  const scripts = [new Script(), new Script()]
  const options = clientOf(...scripts)
  const [one = '', two = ''] = options.addresses
  const [first] = scripts
  assert.ok(first !== undefined)
  first.onRequest = ({ request }) =>
    request.case === 'registerPeerRequest' ? [parents('p')] : undefined
  let closed = false
  const client = clientFor(t, scripts, {
    addresses: [one],
    open: (address) => {
      const channel = options.open(address)
      return {
        ...channel,
        close: () => {
          closed ||= address === one
          channel.close()
        },
      }
    },
  })
  const session = client.open(registration)
  await session.next(signal)
  client.setAddresses([two])
  assert.equal(closed, false)
  await session.finish({ is: 'done', source: false })
  assert.equal(first.streams[0]?.at(-1), 'downloadPeerFinishedRequest')
  assert.equal(closed, true)
})

test('SchedulerClient asks the owner of a task first, and goes along the ring', async (t) => {
  const asked: string[] = []
  const scripts = Array.from({ length: 5 }, (_, at) => {
    const script = new Script()
    script.more = {
      statTask: () => {
        asked.push(`10.1.0.${at + 1}:8002`)
        return down()
      },
    }
    return script
  })
  const client = clientFor(t, scripts)
  const taskId = 'c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4'
  await assert.rejects(client.statTask(taskId, signal), (error) =>
    PeerError.is(error, 'SCHEDULER_UNAVAILABLE'),
  )
  assert.deepEqual(asked, ringOrder(client.addresses, taskId))
})

test('SchedulerClient asks one that failed just now last', async (t) => {
  const clock = new VirtualClock()
  const asked: number[] = []
  const scripts = [0, 1].map((at) => {
    const script = new Script()
    script.more = {
      statTask: ({ taskId }) => {
        asked.push(at)
        if (at === owner) down()
        return { id: taskId, state: 'Running' }
      },
    }
    return script
  })
  const client = clientFor(t, scripts, { clock })
  const [first] = ringOrder(client.addresses, spec.id)
  const owner = client.addresses.indexOf(first ?? '')
  await client.statTask(spec.id, signal)
  await client.statTask(spec.id, signal)
  assert.deepEqual(asked, [owner, 1 - owner, 1 - owner])
  await clock.pass(11_000)
  await client.statTask(spec.id, signal)
  assert.deepEqual(asked.slice(3), [owner, 1 - owner])
})

test('SchedulerClient gives a task that is too short for the ring to somebody', async (t) => {
  const scripts = [new Script(), new Script()]
  for (const script of scripts) {
    script.more = { statTask: () => ({ id: 'abc', state: 'Running' }) }
  }
  assert.equal((await clientFor(t, scripts).statTask('abc', signal))?.spec.id, 'abc')
})

test('SchedulerClient.deleteHost() takes the host back, and fails for no scheduler', async (t) => {
  const scripts = [new Script(), new Script()]
  const deleted: string[] = []
  const [one, two] = scripts
  assert.ok(one !== undefined && two !== undefined)
  one.more = { deleteHost: down }
  two.more = {
    deleteHost: ({ hostId }) => {
      deleted.push(hostId)
      return {}
    },
  }
  await clientFor(t, scripts).deleteHost(signal)
  assert.deepEqual(deleted, ['me'])
})

test('SchedulerClient.deleteHost() is not undone by a download that goes on', async (t) => {
  const script = new Script()
  script.more = { deleteHost: () => ({}) }
  script.onRequest = unknownHost
  const client = clientFor(t, [script])
  await client.deleteHost(signal)
  await assert.rejects(client.open(registration).next(signal), (error) => {
    assert.ok(PeerError.is(error, 'SCHEDULER_REFUSED'))
    return true
  })
  assert.deepEqual(script.hosts, [])
})

test('SchedulerClient does nothing more after close()', async (t) => {
  const clock = new VirtualClock()
  const script = new Script()
  const client = clientFor(t, [script], { clock })
  await client.announceHost(signal)
  client.close()
  client.close()
  await clock.pass(100_000)
  assert.equal(script.hosts.length, 1)
  await assert.rejects(client.statTask(spec.id, signal), (error) => PeerError.is(error, 'CLOSED'))
  await assert.rejects(client.announceHost(signal), (error) => PeerError.is(error, 'CLOSED'))
  assert.equal(clock.pending, 0)
})

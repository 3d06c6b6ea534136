import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'

import { Code, ConnectError } from '@connectrpc/connect'

import { PeerError } from '../../src/errors.ts'
import { ringOrder } from '../../src/hash/ring.ts'
import { localChannel } from '../../src/rpc/channel.ts'
import type { HostFigures } from '../../src/rpc/convert-host.ts'
import { SchedulerClient } from '../../src/scheduler/client.ts'
import { EmbeddedScheduler } from '../../src/scheduler/embedded/scheduler.ts'
import { geometry } from '../../src/task/piece.ts'
import type { TaskSpec } from '../../src/task/ports.ts'
import { deferred } from '../../src/util/deferred.ts'
import { VirtualClock } from '../sim/clock.ts'
import { clientOf, goToSource, parents, registration, Script, spec } from './script.ts'
import { subscribed } from './subscribed.ts'

const signal = new AbortController().signal
const mib = 1024 * 1024

function clientFor(
  t: TestContext,
  scripts: readonly Script[],
  more: Partial<ConstructorParameters<typeof SchedulerClient>[0]> = {},
): SchedulerClient {
  const client = new SchedulerClient({ ...clientOf(...scripts), ...more })
  t.after(() => client.close())
  return client
}

function down(): never {
  throw new ConnectError('Down', Code.Unavailable)
}

/** A client of a real embedded scheduler. */
function embedded(t: TestContext, hosts: readonly string[]): SchedulerClient[] {
  const scheduler = new EmbeddedScheduler()
  t.after(() => scheduler.close())
  return hosts.map((id) => {
    const figures: HostFigures = { id, hostname: id, ip: '127.0.0.1', port: 4000, seed: false }
    const client = new SchedulerClient({
      addresses: ['local'],
      open: () => localChannel(scheduler.routes),
      host: () => figures,
    })
    t.after(() => client.close())
    return client
  })
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
  const never = deferred<never>()
  script.more = { announceHost: () => never.promise }
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

test('SchedulerClient.statTask() tells geometry and identity, or that nobody knows the task', async (t) => {
  const [writer, reader] = embedded(t, ['a', 'b'])
  assert.ok(writer !== undefined && reader !== undefined)
  assert.equal(await reader.statTask(spec.id, signal), undefined)
  const chosen: TaskSpec = { ...spec, tag: 'x', application: 'y', pieceLength: 8 * mib }
  const session = writer.open({
    ...registration,
    spec: chosen,
    geometry: geometry(40 * mib, 8 * mib),
  })
  assert.equal((await session.next(signal))?.is, 'source')
  const known = await reader.statTask(spec.id, signal)
  assert.deepEqual(known, {
    spec: { ...chosen, priority: 0 },
    geometry: geometry(40 * mib, 8 * mib),
    state: 'Running',
    peerCount: 1,
  })
})

test('SchedulerClient.statTask() shows no URL that may hold a secret', async (t) => {
  const [client] = embedded(t, ['a'])
  assert.ok(client !== undefined)
  const signed = { ...spec, url: 'http://origin.test/a?X-Amz-Signature=1' }
  await client.open({ ...registration, spec: signed }).next(signal)
  const known = await client.statTask(spec.id, signal)
  assert.equal(known?.spec.url, undefined)
  assert.deepEqual(known?.geometry, registration.geometry)
})

test('SchedulerClient.statTask() tells the geometry of one piece, of none, and of an unknown length', async (t) => {
  const [client] = embedded(t, ['a'])
  assert.ok(client !== undefined)
  const ask = async (id: string, contentLength: number | undefined) => {
    const { geometry: _, ...unknown } = registration
    const cut = contentLength === undefined ? {} : { geometry: geometry(contentLength) }
    await client.open({ ...unknown, ...cut, spec: { ...spec, id } }).next(signal)
    return (await client.statTask(id, signal))?.geometry
  }
  assert.deepEqual(await ask('small', 1000), geometry(1000))
  assert.deepEqual(await ask('empty', 0), geometry(0))
  assert.equal(await ask('unknown', undefined), undefined)
})

test('SchedulerClient.announceHeld() makes a holder known', async (t) => {
  const [holder, reader] = embedded(t, ['a', 'b'])
  assert.ok(holder !== undefined && reader !== undefined)
  const cut = geometry(40 * mib)
  await holder.announceHeld({ peerId: 'holder', spec, geometry: cut }, signal)
  const answer = await reader.open(registration).next(signal)
  assert.ok(answer?.is === 'parents')
  assert.deepEqual(
    answer.parents.map(({ id, hostId }) => `${id} ${hostId}`),
    ['holder a'],
  )
})

test('SchedulerClient.announceHeld() says to an older scheduler what that one wants to hear', async (t) => {
  const ways = [
    [parents('p'), 'downloadPeerStartedRequest', 'downloadPeerFinishedRequest'],
    [
      goToSource,
      'downloadPeerBackToSourceStartedRequest',
      'downloadPeerBackToSourceFinishedRequest',
    ],
    [
      { response: { case: 'emptyTaskResponse', value: {} } },
      'downloadPeerStartedRequest',
      'downloadPeerFinishedRequest',
    ],
  ] as const
  for (const [answer, ...said] of ways) {
    const script = new Script()
    script.onRequest = ({ request }) => {
      if (request.case !== 'registerPeerRequest') return undefined
      assert.equal(request.value.download?.metadataOnly, true)
      assert.equal(request.value.download?.disableBackToSource, true)
      assert.equal(request.value.download?.actualPieceCount, 10n)
      return [answer]
    }
    const cut = geometry(40 * mib)
    await clientFor(t, [script]).announceHeld({ peerId: 'p', spec, geometry: cut }, signal)
    assert.deepEqual(script.streams[0], ['registerPeerRequest', ...said])
  }
})

test('SchedulerClient.announceHeld() says when it is refused', async (t) => {
  const script = new Script()
  script.onRequest = () => {
    throw new ConnectError('No', Code.InvalidArgument)
  }
  const held = { peerId: 'p', spec, geometry: geometry(40 * mib) }
  await assert.rejects(clientFor(t, [script]).announceHeld(held, signal), (error) =>
    PeerError.is(error, 'SCHEDULER_REFUSED'),
  )
})

test('SchedulerClient imports, looks at and deletes persistent cache tasks', async (t) => {
  const [writer, reader] = embedded(t, ['a', 'b'])
  assert.ok(writer !== undefined && reader !== undefined)
  const id = 'cache-task'
  const written: TaskSpec = { ...spec, id, kind: 'persistentCache', tag: 'x', ttlMs: 600_000 }
  const upload = { peerId: 'p', spec: written, geometry: geometry(10 * mib), replicas: 2 }
  assert.equal(await reader.statPersistentCacheTask(id, signal), undefined)
  // The host is not known yet: it is announced on the way.
  assert.equal(await writer.uploadPersistentCacheTaskStarted(upload, signal), 'started')
  assert.equal((await reader.statPersistentCacheTask(id, signal))?.state, 'Uploading')
  const done = await writer.uploadPersistentCacheTaskFinished(upload, signal)
  assert.equal(done.state, 'Succeeded')
  assert.deepEqual(done.replicas, { wanted: 2, persistent: 1, all: 1 })
  const known = await reader.statPersistentCacheTask(id, signal)
  assert.deepEqual(known?.geometry, upload.geometry)
  assert.equal(known?.spec.ttlMs, 600_000)
  assert.equal(known?.spec.tag, 'x')
  assert.equal(known?.spec.kind, 'persistentCache')
  assert.equal(await writer.uploadPersistentCacheTaskStarted(upload, signal), 'started')
  await writer.uploadPersistentCacheTaskFailed({ ...upload, reason: 'x' }, signal)
  await reader.deletePersistentCacheTask(id, signal)
  await reader.deletePersistentCacheTask(id, signal)
  assert.equal(await reader.statPersistentCacheTask(id, signal), undefined)
})

test('SchedulerClient.announceHeld() imports a persistent cache task again', async (t) => {
  const [writer, reader] = embedded(t, ['a', 'b'])
  assert.ok(writer !== undefined && reader !== undefined)
  const written: TaskSpec = { ...spec, kind: 'persistentCache', ttlMs: 600_000 }
  const held = { peerId: 'p', spec: written, geometry: geometry(10 * mib) }
  await writer.announceHeld(held, signal)
  await writer.announceHeld({ ...held, peerId: 'q' }, signal)
  const known = await reader.statPersistentCacheTask(spec.id, signal)
  assert.deepEqual(known?.replicas, { wanted: 1, persistent: 1, all: 1 })
})

test('SchedulerClient takes a task that exists for imported', async (t) => {
  const script = new Script()
  script.more = {
    uploadPersistentCacheTaskStarted: () => {
      throw new ConnectError('Exists', Code.AlreadyExists)
    },
  }
  const written: TaskSpec = { ...spec, kind: 'persistentCache' }
  const upload = { peerId: 'p', spec: written, geometry: geometry(10 * mib), replicas: 2 }
  const client = clientFor(t, [script])
  assert.equal(await client.uploadPersistentCacheTaskStarted(upload, signal), 'exists')
})

test('SchedulerClient takes a scheduler that keeps no persistent kinds for one that knows none', async (t) => {
  for (const code of [Code.FailedPrecondition, Code.Unimplemented, Code.NotFound]) {
    const script = new Script()
    script.more = {
      statPersistentCacheTask: () => {
        throw new ConnectError('No redis', code)
      },
    }
    const client = clientFor(t, [script])
    assert.equal(await client.statPersistentCacheTask(spec.id, signal), undefined)
  }
})

test('SchedulerClient.deleteTask() takes a holder back', async (t) => {
  const [holder, reader] = embedded(t, ['a', 'b'])
  assert.ok(holder !== undefined && reader !== undefined)
  await holder.deleteTask(spec.id, signal)
  await holder.announceHeld({ peerId: 'p', spec, geometry: geometry(40 * mib) }, signal)
  await holder.deleteTask(spec.id, signal)
  assert.deepEqual(await reader.open(registration).next(signal), { is: 'source' })
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

test('SchedulerClient.explain() holds no secret', async (t) => {
  const script = new Script()
  script.onRequest = () => [parents('p')]
  const client = clientFor(t, [script])
  const secret = { ...spec, url: 'http://user:secret@origin.test/', headers: { a: 'secret' } }
  await client.open({ ...registration, spec: secret }).next(signal)
  const text = JSON.stringify(client.explain())
  assert.ok(text.includes('10.1.0.1:8002'))
  assert.ok(!text.includes('secret'))
})

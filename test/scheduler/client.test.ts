import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'

import { Code, ConnectError } from '@connectrpc/connect'

import { PeerError } from '../../src/errors.ts'
import { localChannel } from '../../src/rpc/channel.ts'
import type { HostFigures } from '../../src/rpc/convert-host.ts'
import { SchedulerClient } from '../../src/scheduler/client.ts'
import { EmbeddedScheduler } from '../../src/scheduler/embedded/scheduler.ts'
import { geometry } from '../../src/task/piece.ts'
import type { TaskSpec } from '../../src/task/ports.ts'
import { clientFor, goToSource, parents, registration, Script, spec } from './script.ts'

const signal = new AbortController().signal
const mib = 1024 * 1024

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

test('SchedulerClient.find() says who a peer of the task is, on another host', async (t) => {
  const [child, asking] = embedded(t, ['a', 'b'])
  assert.ok(child !== undefined && asking !== undefined)
  assert.equal(await asking.find(spec, registration.peerId, signal), undefined)
  await child.open(registration).next(signal)
  assert.deepEqual(await asking.find(spec, registration.peerId, signal), {
    id: registration.peerId,
    hostId: 'a',
    ip: '127.0.0.1',
    port: 4000,
    seed: false,
  })
  assert.equal(await child.find(spec, registration.peerId, signal), undefined)
  assert.equal(await asking.find(spec, 'nobody', signal), undefined)
})

test('SchedulerClient.find() believes no answer about another peer or task', async (t) => {
  const host = { id: 'a', ip: '127.0.0.1', port: 4000 }
  let answer = {}
  const script = new Script()
  script.more = { statPeer: () => answer }
  const client = clientFor(t, [script])
  const found = async (given: typeof answer): Promise<boolean> => {
    answer = given
    return (await client.find(spec, 'p', signal)) !== undefined
  }
  assert.equal(await found({ id: 'p', task: { id: spec.id }, host }), true)
  assert.equal(await found({ id: 'q', task: { id: spec.id }, host }), false)
  assert.equal(await found({ id: 'p', task: { id: 'f'.repeat(64) }, host }), false)
  assert.equal(await found({ id: 'p', host }), false)
  assert.equal(await found({ id: 'p', task: { id: spec.id } }), false)
  assert.equal(await found({ id: 'p', task: { id: spec.id }, host: { ...host, ip: 'x' } }), false)
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

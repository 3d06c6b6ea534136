import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createClient } from '@connectrpc/connect'
import { ringOrder } from '../../src/hash/ring.ts'
import { standardTaskId } from '../../src/hash/task-id.ts'
import type { Peer } from '../../src/peer/peer.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import { millisOf, wireTime } from '../../src/rpc/convert.ts'
import { DfdaemonUpload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import type { UploadPersistentCacheTaskStartedRequest } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { nobody, ScriptedScheduler } from './scripted-scheduler.ts'
import { startPeer, waitFor } from './start-peer.ts'

const mib = 1024 * 1024
const hour = 3_600_000

interface Explained {
  readonly id: string
  readonly wanted?: number
  readonly have?: { readonly persistent: number; readonly all: number }
}

function tasksAt(peer: Peer): readonly Explained[] {
  return (peer.explain() as { scheduling: { tasks: readonly Explained[] } }).scheduling.tasks
}

test('A written file is announced with its number of copies and what is left of its life after a restart', async (t) => {
  const dir = tempFolder(t)
  const imports: UploadPersistentCacheTaskStartedRequest[] = []
  const methods = {
    uploadPersistentCacheTaskStarted: (request: UploadPersistentCacheTaskStartedRequest) => {
      imports.push(request)
      return {}
    },
    uploadPersistentCacheTaskFinished: () => ({}),
  }
  const before = await ScriptedScheduler.start(t, methods)
  const first = await startPeer(t, { store: { dir }, scheduler: before.address })
  const content = new Content(5 * mib, 9)
  const { id } = await first.write(content.bytes(), { replicas: 4, ttlMs: hour })
  await first.close()
  assert.equal(imports.length, 1)
  const after = await ScriptedScheduler.start(t, methods)
  await startPeer(t, { store: { dir }, scheduler: after.address })
  await waitFor(() => imports.length === 2)
  const again = imports[1]
  assert.equal(again?.taskId, id)
  assert.equal(again?.persistentReplicaCount, 4n)
  const ttlMs = millisOf(again?.ttl) ?? 0
  assert.ok(ttlMs <= hour && ttlMs > hour - 60_000, `${ttlMs} ms are left`)
  assert.notEqual(again?.peerId, imports[0]?.peerId)
})

test('The wish for copies outlives the scheduler that made them', async (t) => {
  const dir = tempFolder(t)
  const old = await startPeer(t)
  const writer = await startPeer(t, { store: { dir }, scheduler: old.schedulerAddress })
  const { id } = await writer.write(new Content(5 * mib, 9).bytes(), { replicas: 3 })
  await writer.close()
  const fresh = await startPeer(t)
  const third = await startPeer(t, { scheduler: fresh.schedulerAddress })
  await startPeer(t, { store: { dir }, scheduler: fresh.schedulerAddress })
  const task = () => tasksAt(fresh).find((each) => each.id === id)
  await waitFor(() => task()?.have?.persistent === 3)
  assert.equal(task()?.wanted, 3)
  assert.equal((await third.download({ task: id }).done).traffic.local, 5 * mib)
})

test('Writing the same content again asks for the longer life and the larger number of copies', async (t) => {
  const imports: UploadPersistentCacheTaskStartedRequest[] = []
  const scheduler = await ScriptedScheduler.start(t, {
    uploadPersistentCacheTaskStarted: (request) => {
      imports.push(request)
      return {}
    },
    uploadPersistentCacheTaskFinished: () => ({}),
  })
  const peer = await startPeer(t, { scheduler: scheduler.address })
  const bytes = new Content(5 * mib, 9).bytes()
  for (const [replicas, ttlMs] of [
    [2, hour],
    [1, 3 * hour],
    [3, hour],
  ] as const) {
    await peer.write(bytes, { replicas, ttlMs })
  }
  assert.deepEqual(
    imports.map(({ persistentReplicaCount }) => Number(persistentReplicaCount)),
    [2, 2, 3],
  )
  const hours = imports.map(({ ttl }) => Math.round((millisOf(ttl) ?? 0) / hour))
  assert.deepEqual(hours, [1, 3, 3])
  // One copy has one name, however often it is announced.
  assert.equal(new Set(imports.map(({ peerId }) => peerId)).size, 1)
})

for (const persistent of [true, false]) {
  test(`An ordered ${persistent ? 'copy to keep' : 'download'} is registered as such`, async (t) => {
    const taskId = 'cd'.repeat(32)
    const scheduler = await ScriptedScheduler.start(t, {
      statPersistentCacheTask: () => ({
        id: taskId,
        contentLength: BigInt(5 * mib),
        pieceLength: BigInt(4 * mib),
        pieceCount: 2,
        persistentReplicaCount: 2n,
        ttl: wireTime(hour),
        createdAt: wireTime(Date.now()),
        state: 'Succeeded',
      }),
    })
    const peer = await startPeer(t, {
      scheduler: scheduler.address,
      limits: { parentsTimeoutMs: 200 },
    })
    const channel = openChannel({ address: peer.address })
    cleanup(t, () => channel.close())
    const client = createClient(DfdaemonUpload, channel)
    await assert.rejects(async () => {
      for await (const _ of client.downloadPersistentCacheTask({ taskId, persistent })) continue
    })
    const register = scheduler.saidOfCache[0]?.request
    assert.equal(register?.case, 'registerPersistentCachePeerRequest')
    assert.equal(register.value.persistent, persistent)
  })
}

test('A copy that is here already is made known when it is ordered, and counts as kept', async (t) => {
  const first = await startPeer(t)
  const second = await startPeer(t, { scheduler: first.schedulerAddress })
  const { id } = await first.write(new Content(5 * mib, 9).bytes(), { replicas: 1 })
  await second.download({ task: id }).done
  const task = () => tasksAt(first).find((each) => each.id === id)
  await waitFor(() => task()?.have?.all === 2)
  assert.equal(task()?.have?.persistent, 1)
  const channel = openChannel({ address: second.address })
  cleanup(t, () => channel.close())
  const client = createClient(DfdaemonUpload, channel)
  for await (const _ of client.downloadPersistentCacheTask({ taskId: id, persistent: true })) {
    continue
  }
  assert.deepEqual(task()?.have, { persistent: 2, all: 2 })
})

test('A download by id alone takes the piece length that the scheduler has learnt meanwhile', async (t) => {
  const taskId = 'ef'.repeat(32)
  const contentLength = BigInt(40 * mib)
  let asked = 0
  const scheduler = await ScriptedScheduler.start(t, {
    statTask: () => {
      asked++
      const piece = { number: 1, offset: BigInt(16 * mib), length: BigInt(16 * mib) }
      // At first nothing is known but the URL.
      return {
        id: taskId,
        url: 'http://origin.test/a',
        ...(asked < 3 ? { contentLength: 2n ** 64n - 1n } : { contentLength, pieces: [piece] }),
      }
    },
    announcePeer: async function* (requests) {
      for await (const { request } of requests) {
        if (request.case !== 'registerPeerRequest') continue
        const task = { id: taskId, contentLength }
        const candidateParents = [{ id: 'p', state: 'Running', host: nobody, task }]
        yield { response: { case: 'normalTaskResponse' as const, value: { candidateParents } } }
      }
    },
  })
  const peer = await startPeer(t, {
    scheduler: scheduler.address,
    limits: { parentsTimeoutMs: 300 },
  })
  await assert.rejects(peer.download({ task: taskId }, { backToSource: 'never' }).done)
  const lengths = scheduler.said.flatMap(({ request }) =>
    request.case === 'registerPeerRequest' ? [request.value.download?.actualPieceLength] : [],
  )
  assert.deepEqual(lengths.slice(0, 2), [undefined, BigInt(16 * mib)])
})

test('What is kept is announced to the scheduler that owns it when another one is gone, and to nobody who knows it', async (t) => {
  const told: string[] = []
  const start = async (name: string) =>
    ScriptedScheduler.start(t, {
      announcePeer: async function* (requests) {
        for await (const { request, taskId } of requests) {
          if (request.case !== 'registerPeerRequest') continue
          told.push(`${name} ${taskId}`)
          yield {
            response: request.value.download?.metadataOnly
              ? { case: 'metadataOnlyResponse' as const, value: {} }
              : { case: 'needBackToSourceResponse' as const, value: {} },
          }
        }
      },
    })
  const one = await start('one')
  const two = await start('two')
  const addresses = [one.address, two.address]
  const from = await origin(t, { length: 5000 })
  const peer = await startPeer(t, { scheduler: addresses })
  /** Tags that make tasks of the same content which this scheduler owns. */
  const tags = (owner: string, count: number, after = 0): string[] => {
    const found: string[] = []
    for (let tag = after; found.length < count; tag++) {
      const id = standardTaskId({ url: from.url, tag: `${tag}`, filteredQueryParams: [] })
      if (ringOrder(addresses, id)[0] === owner) found.push(`${tag}`)
    }
    return found
  }
  const download = async (tag: string): Promise<string> =>
    (await peer.download(from.url, { tag, filteredQueryParams: [] }).done).id
  const [ofOne, ofTwo] = [tags(one.address, 4), tags(two.address, 3)]
  const last = ofOne.pop() ?? ''
  const ids: string[] = []
  for (const tag of ofOne) ids.push(await download(tag))
  for (const tag of ofTwo) await download(tag)
  assert.equal(told.length, 6)
  await one.stop()
  // The next call to it shows that it is gone.
  const failedOver = await download(last)
  await waitFor(() => told.length === 10)
  const expected = [...ids, failedOver].map((id) => `two ${id}`)
  assert.deepEqual(told.slice(6).toSorted(), expected.toSorted())
})

test('Peer.close() does not wait for a round of announcements, however much is kept', async (t) => {
  const dir = tempFolder(t)
  const from = await origin(t, { length: 1000 })
  const before = await startPeer(t, { store: { dir } })
  const count = 60
  const urls = Array.from({ length: count }, (_, at) => from.urlOf(`/${at}`))
  await Promise.all(urls.map((url) => before.download(url).done))
  await before.close()
  let told = 0
  const scheduler = await ScriptedScheduler.start(t, {
    announcePeer: async function* (requests) {
      for await (const { request } of requests) {
        if (request.case !== 'registerPeerRequest') continue
        told++
        // Slow, so that the round takes as long as it would with very many.
        for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
        yield { response: { case: 'metadataOnlyResponse' as const, value: {} } }
      }
    },
  })
  const peer = await startPeer(t, { store: { dir }, scheduler: scheduler.address })
  await waitFor(() => told > 0)
  await peer.close()
  assert.ok(told < count / 2, `${told} of ${count} were announced`)
})

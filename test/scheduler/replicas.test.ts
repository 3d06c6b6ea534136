import assert from 'node:assert/strict'
import test from 'node:test'

import type { MessageInitShape } from '@bufbuild/protobuf'
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect'

import { wireTime } from '../../src/rpc/convert.ts'
import {
  type AnnouncePersistentCachePeerRequestSchema,
  Scheduler,
} from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { deferred } from '../../src/util/deferred.ts'
import { mib } from './child.ts'
import { Site } from './site.ts'

const hour = 3_600_000

type AnnounceInit = MessageInitShape<typeof AnnouncePersistentCachePeerRequestSchema>
type Said = NonNullable<AnnounceInit['request']>

/** Persistent cache tasks of a site, in the words of the wire. */
class Library {
  readonly site: Site
  readonly client: Client<typeof Scheduler>
  readonly asked: string[] = []

  constructor(site: Site) {
    this.site = site
    this.client = createClient(Scheduler, site.channel)
  }

  async import(hostId: string, replicas = 1, ttlMs = hour): Promise<void> {
    const names = this.names(hostId)
    await this.client.uploadPersistentCacheTaskStarted({
      ...names,
      persistentReplicaCount: BigInt(replicas),
      pieceLength: BigInt(4 * mib),
      contentLength: BigInt(10 * mib),
      pieceCount: 3,
      ttl: wireTime(ttlMs),
    })
    await this.client.uploadPersistentCacheTaskFinished(names)
  }

  /** A host that takes what it is asked to take, and keeps it. */
  async host(id: string, more: Parameters<Site['host']>[1] = {}, intervalMs = hour): Promise<void> {
    this.site.onCall(id, {
      replicate: async ({ taskId, persistent }) => {
        this.asked.push(`${id} fetches`)
        assert.equal(persistent, true)
        assert.equal(taskId, this.site.taskId)
        await this.download(id)
      },
      keep: async () => void this.asked.push(`${id} keeps`),
      drop: async () => void this.asked.push(`${id} drops`),
    })
    await this.site.host(id, more, intervalMs)
  }

  /** A whole download; who was offered. */
  async download(hostId: string): Promise<readonly string[]> {
    const names = this.names(hostId, 'download')
    const answered = deferred<void>()
    const say = (request: Said): AnnounceInit => ({ ...names, request })
    const requests = (async function* () {
      const value = { pieceLength: BigInt(4 * mib), pieceCount: 3n, concurrentPieceCount: 8 }
      yield say({ case: 'registerPersistentCachePeerRequest', value })
      await answered.promise
      yield say({ case: 'downloadPersistentCachePeerStartedRequest', value: {} })
      // A second one, as the Rust client sends it, must do no harm.
      yield say({ case: 'downloadPersistentCachePeerStartedRequest', value: {} })
      yield say({ case: 'downloadPersistentCachePeerFinishedRequest', value: {} })
    })()
    const offered: string[] = []
    for await (const { response } of this.client.announcePersistentCachePeer(requests)) {
      answered.resolve()
      if (response.case !== 'normalPersistentCacheTaskResponse') continue
      for (const { host } of response.value.candidateCacheParents) offered.push(host?.id ?? '')
    }
    return offered
  }

  names(hostId: string, what = 'import') {
    return { hostId, taskId: this.site.taskId, peerId: `${hostId} ${what}` }
  }

  async counts(): Promise<{ persistent: number; all: number; state: string }> {
    const names = { hostId: 'any', taskId: this.site.taskId }
    const task = await this.client.statPersistentCacheTask(names)
    return {
      persistent: Number(task.currentPersistentReplicaCount),
      all: Number(task.currentReplicaCount),
      state: task.state,
    }
  }

  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await this.site.clock.settle()
  }
}

function code(wanted: Code): (error: unknown) => boolean {
  return (error) => {
    assert.equal(Code[ConnectError.from(error).code], Code[wanted])
    return true
  }
}

test('EmbeddedScheduler makes the copies that an importer asks for, and no more', async (t) => {
  const library = new Library(new Site(t))
  for (const id of ['a', 'b', 'c', 'd']) await library.host(id)
  await library.import('a', 3)
  await library.settle()
  assert.deepEqual(await library.counts(), { persistent: 3, all: 3, state: 'Succeeded' })
  assert.equal(library.asked.length, 2)
})

test('EmbeddedScheduler has those keep it who have it anyway, before others fetch it', async (t) => {
  const library = new Library(new Site(t))
  await library.host('a')
  await library.import('a', 1)
  await library.host('b')
  assert.deepEqual(await library.download('b'), ['a'])
  await library.host('c')
  await library.import('a', 2)
  await library.settle()
  assert.deepEqual(library.asked, ['b keeps'])
  assert.deepEqual(await library.counts(), { persistent: 2, all: 2, state: 'Succeeded' })
})

test('EmbeddedScheduler makes another copy when a holder leaves', async (t) => {
  const library = new Library(new Site(t))
  for (const id of ['a', 'b']) await library.host(id)
  await library.import('a', 2)
  await library.settle()
  await library.host('c')
  await library.client.deleteHost({ hostId: 'a' })
  await library.settle()
  assert.deepEqual(library.asked, ['b fetches', 'c fetches'])
  assert.deepEqual(await library.counts(), { persistent: 2, all: 2, state: 'Succeeded' })
})

test('EmbeddedScheduler makes another copy when a holder says nothing more', async (t) => {
  const library = new Library(new Site(t))
  await library.host('a')
  await library.host('b', {}, 10_000)
  await library.import('a', 2)
  await library.settle()
  assert.deepEqual(library.asked, ['b fetches'])
  await library.host('c')
  await library.site.clock.pass(25_000)
  await library.settle()
  assert.deepEqual(library.asked, ['b fetches', 'c fetches'])
})

test('EmbeddedScheduler makes a copy when a host comes that can take it', async (t) => {
  const library = new Library(new Site(t))
  await library.host('a')
  await library.import('a', 2)
  await library.settle()
  assert.deepEqual(library.asked, [])
  await library.host('b')
  await library.settle()
  assert.deepEqual(library.asked, ['b fetches'])
})

test('EmbeddedScheduler gives an order that failed to another host, and tries again later', async (t) => {
  const site = new Site(t, { replicaRetryMs: 30_000 })
  const library = new Library(site)
  await library.host('a')
  await library.host('b')
  let failures = 0
  site.onCall('b', {
    replicate: async () => {
      failures++
      throw new ConnectError('No space', Code.ResourceExhausted)
    },
  })
  await library.import('a', 2)
  await library.settle()
  assert.equal(failures, 1)
  await site.clock.pass(31_000)
  await library.settle()
  assert.equal(failures, 2)
  await library.host('c')
  await library.settle()
  assert.deepEqual(library.asked, ['c fetches'])
})

test('EmbeddedScheduler counts no copy of a host that has it but did not promise to keep it', async (t) => {
  const site = new Site(t, { replicaRetryMs: 30_000 })
  const library = new Library(site)
  await library.host('a')
  await library.host('b')
  site.onCall('b', {
    replicate: async () => {
      await library.download('b')
      throw new ConnectError('It is here, but it will not stay', Code.ResourceExhausted)
    },
    keep: async () => void library.asked.push('b keeps'),
  })
  await library.import('a', 2)
  await library.settle()
  assert.deepEqual(await library.counts(), { persistent: 1, all: 2, state: 'Succeeded' })
  await site.clock.pass(31_000)
  await library.settle()
  assert.deepEqual(library.asked, ['b keeps'])
  assert.deepEqual(await library.counts(), { persistent: 2, all: 2, state: 'Succeeded' })
})

test('EmbeddedScheduler asks no host that does not share or has no room', async (t) => {
  const library = new Library(new Site(t))
  await library.host('a')
  await library.host('leech', { disableShared: true })
  await library.host('full', { disk: { free: BigInt(9 * mib) } })
  await library.import('a', 3)
  await library.settle()
  assert.deepEqual(library.asked, [])
  await library.host('roomy', { disk: { free: BigInt(11 * mib) } })
  await library.settle()
  assert.deepEqual(library.asked, ['roomy fetches'])
})

test('EmbeddedScheduler takes a second import of the same content, and none of other content', async (t) => {
  const library = new Library(new Site(t))
  for (const id of ['a', 'b']) await library.host(id)
  await library.import('a')
  await library.import('a')
  assert.deepEqual(await library.counts(), { persistent: 1, all: 1, state: 'Succeeded' })
  await library.import('b')
  assert.deepEqual(await library.counts(), { persistent: 2, all: 2, state: 'Succeeded' })
  const other = library.client.uploadPersistentCacheTaskStarted({
    ...library.names('b', 'other'),
    persistentReplicaCount: 1n,
    pieceLength: BigInt(4 * mib),
    contentLength: 99n,
    pieceCount: 1,
    ttl: wireTime(hour),
  })
  await assert.rejects(other, code(Code.AlreadyExists))
})

test('EmbeddedScheduler keeps as many copies as the importer who wants most', async (t) => {
  const library = new Library(new Site(t))
  await library.host('a')
  await library.host('b')
  await library.import('a', 3)
  await library.import('b', 1)
  await library.host('c')
  await library.settle()
  assert.deepEqual(await library.counts(), { persistent: 3, all: 3, state: 'Succeeded' })
})

test('EmbeddedScheduler refuses an import without lengths, or of an unknown host', async (t) => {
  const library = new Library(new Site(t))
  await library.host('a')
  const { client } = library
  const lengths = { pieceLength: BigInt(4 * mib), contentLength: BigInt(10 * mib), pieceCount: 3 }
  const start = (hostId: string, more: object) =>
    client.uploadPersistentCacheTaskStarted({ ...library.names(hostId), ...more })
  await assert.rejects(start('nobody', lengths), code(Code.NotFound))
  await assert.rejects(start('a', { ...lengths, pieceLength: 0n }), code(Code.InvalidArgument))
  await assert.rejects(
    start('a', { pieceLength: 1n, contentLength: 2n ** 40n }),
    code(Code.InvalidArgument),
  )
  await assert.rejects(
    start('a', { ...lengths, contentLength: 2n ** 64n - 1n }),
    code(Code.InvalidArgument),
  )
})

test('EmbeddedScheduler records a failed import as failed, unless others have it', async (t) => {
  const library = new Library(new Site(t))
  for (const id of ['a', 'b']) await library.host(id)
  const start = {
    persistentReplicaCount: 1n,
    pieceLength: BigInt(4 * mib),
    contentLength: BigInt(10 * mib),
    pieceCount: 3,
    ttl: wireTime(hour),
  }
  await library.client.uploadPersistentCacheTaskStarted({ ...library.names('a'), ...start })
  await library.client.uploadPersistentCacheTaskFailed(library.names('a'))
  assert.deepEqual(await library.counts(), { persistent: 0, all: 0, state: 'Failed' })
  await library.import('b')
  await library.client.uploadPersistentCacheTaskStarted({ ...library.names('a'), ...start })
  await library.client.uploadPersistentCacheTaskFailed(library.names('a'))
  assert.deepEqual(await library.counts(), { persistent: 1, all: 1, state: 'Succeeded' })
})

test('EmbeddedScheduler offers copies, waits for an import, and says when there is nothing', async (t) => {
  const site = new Site(t)
  const library = new Library(site)
  for (const id of ['a', 'b', 'c']) await library.host(id)
  await assert.rejects(library.download('b'), code(Code.NotFound))
  const start = {
    persistentReplicaCount: 1n,
    pieceLength: BigInt(4 * mib),
    contentLength: BigInt(10 * mib),
    pieceCount: 3,
    ttl: wireTime(hour),
  }
  await library.client.uploadPersistentCacheTaskStarted({ ...library.names('a'), ...start })
  const waiting = library.download('b')
  assert.equal(await site.now(waiting), 'nothing')
  await library.client.uploadPersistentCacheTaskFinished(library.names('a'))
  assert.deepEqual(await waiting, ['a'])
  assert.deepEqual((await library.download('c')).toSorted(), ['a', 'b'])
  for (const hostId of ['a', 'b']) await library.client.deleteHost({ hostId })
  await assert.rejects(library.download('c'), code(Code.FailedPrecondition))
})

test('EmbeddedScheduler waits only so long for an import', async (t) => {
  const site = new Site(t, { importWaitMs: 30_000 })
  const library = new Library(site)
  for (const id of ['a', 'b']) await library.host(id)
  await library.client.uploadPersistentCacheTaskStarted({
    ...library.names('a'),
    persistentReplicaCount: 1n,
    pieceLength: BigInt(4 * mib),
    contentLength: BigInt(10 * mib),
    pieceCount: 3,
    ttl: wireTime(hour),
  })
  const waiting = assert.rejects(library.download('b'), code(Code.FailedPrecondition))
  assert.equal(await site.now(waiting), 'nothing')
  await site.clock.pass(30_100)
  await waiting
})

test('EmbeddedScheduler tells every holder to drop a task that is deleted', async (t) => {
  const library = new Library(new Site(t))
  for (const id of ['a', 'b']) await library.host(id)
  await library.import('a', 2)
  await library.settle()
  await library.client.deletePersistentCacheTask({ hostId: 'a', taskId: library.site.taskId })
  await library.settle()
  assert.deepEqual(library.asked.slice(1).toSorted(), ['a drops', 'b drops'])
  await assert.rejects(library.counts(), code(Code.NotFound))
})

test('EmbeddedScheduler makes another copy for one that is deleted', async (t) => {
  const library = new Library(new Site(t))
  for (const id of ['a', 'b']) await library.host(id)
  await library.import('a', 1)
  assert.deepEqual(await library.download('b'), ['a'])
  await library.client.deletePersistentCachePeer(library.names('a'))
  await library.settle()
  assert.deepEqual(library.asked.toSorted(), ['a drops', 'b keeps'])
  assert.deepEqual(await library.counts(), { persistent: 1, all: 1, state: 'Succeeded' })
  const peer = await library.client.statPersistentCachePeer(library.names('b', 'download'))
  assert.equal(peer.persistent, true)
})

test('EmbeddedScheduler forgets a task when its time to live is over', async (t) => {
  const library = new Library(new Site(t))
  await library.host('a', {}, 10 * hour)
  await library.import('a', 1, 600_000)
  await library.site.clock.pass(598_000)
  assert.equal((await library.counts()).all, 1)
  await library.site.clock.pass(4_000)
  await assert.rejects(library.counts(), code(Code.NotFound))
})

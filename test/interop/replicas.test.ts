import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before } from 'node:test'
import { createClient } from '@connectrpc/connect'
import type { Peer, PeerOptions } from '../../src/index.ts'
import { PersistentCacheTaskId } from '../../src/hash/task-id.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import { millisOf } from '../../src/rpc/convert.ts'
import type { PersistentCacheTask } from '../../src/rpc/gen/common/v2/common_pb.ts'
import { DfdaemonUpload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { rpcError } from '../../src/rpc/rpc-error.ts'
import { cleanup, type Ending } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyBytes } from '../support/verify.ts'
import { eventually } from './support/eventually.ts'
import { fileEnding } from './support/file-ending.ts'
import { matrixTest } from './support/matrix.ts'
import { RedisProgram } from './support/redis-program.ts'
import { Site } from './support/site.ts'
import { dfcache } from './support/tool.ts'

const mebibyte = 1024 * 1024
const hour = 3_600_000
const ending = fileEnding()
let site: Site
let seed = 900

before(async () => {
  const redis = await RedisProgram.start(ending)
  site = await Site.start(ending, { scheduler: { redis: redis.address }, daemons: 1 })
})

/** What the scheduler remembers of a task in its Redis; undefined when it does not know it. */
async function stat(t: Ending, taskId: string): Promise<PersistentCacheTask | undefined> {
  const channel = openChannel({ address: site.scheduler.address })
  cleanup(t, () => channel.close())
  try {
    return await createClient(Scheduler, channel).statPersistentCacheTask({ hostId: 'any', taskId })
  } catch (error) {
    if (rpcError(error).is === 'not-found') return undefined
    throw error
  }
}

async function counts(
  t: Ending,
  taskId: string,
): Promise<{ readonly persistent: number; readonly all: number }> {
  const task = await stat(t, taskId)
  return {
    persistent: Number(task?.currentPersistentReplicaCount ?? 0),
    all: Number(task?.currentReplicaCount ?? 0),
  }
}

/** Whether a peer of ours keeps a task whole. */
async function keeps(t: Ending, peer: Peer, taskId: string): Promise<boolean> {
  const channel = openChannel({ address: peer.address })
  cleanup(t, () => channel.close())
  try {
    const { finishedAt } = await createClient(DfdaemonUpload, channel).statLocalTask({ taskId })
    return finishedAt !== undefined
  } catch (error) {
    if (rpcError(error).is === 'not-found') return false
    throw error
  }
}

async function peerOf(t: Ending, options: PeerOptions = {}): Promise<Peer> {
  return site.peer(t, options)
}

matrixTest(
  6,
  'write(): the Go scheduler orders the second copy and counts it',
  async (t, facts) => {
    const writer = await peerOf(t)
    const content = new Content(9 * mebibyte + 5, ++seed)
    const written = await facts.time(() =>
      writer.write(content.bytes(), { replicas: 3, ttlMs: hour, tag: 'x' }),
    )
    const task = await stat(t, written.id)
    assert.equal(task?.state, 'Succeeded')
    assert.equal(Number(task?.persistentReplicaCount), 3)
    assert.equal(Number(task?.contentLength), content.length)
    assert.equal(millisOf(task?.ttl), hour)
    assert.equal(task?.tag, 'x')
    // The only other host is the real daemon, so far. It gets one; nobody is there for the third.
    await eventually('the daemon keeps a copy', async () => {
      const { persistent } = await counts(t, written.id)
      return persistent === 2
    })
    const other = await peerOf(t)
    const again = await peerOf(t)
    const info = await other.download({ task: written.id }).done
    facts.traffic('ours', info.traffic)
    assert.equal(info.traffic.peers, content.length)
    assert.deepEqual(await counts(t, written.id), { persistent: 2, all: 3 })
    verifyBytes(await again.download({ task: written.id }).bytes(), content)
  },
)

matrixTest(6, 'a copy that the Go scheduler ordered here is registered as kept', async (t) => {
  const holders = [await peerOf(t), await peerOf(t), await peerOf(t)]
  const [writer] = holders
  const content = new Content(5 * mebibyte, ++seed)
  const { id } = (await writer?.write(content.bytes(), { replicas: 4 })) ?? assert.fail()
  // Three of ours and the daemon.
  await eventually('all four keep a copy', async () => {
    const { persistent } = await counts(t, id)
    return persistent === 4
  })
  assert.deepEqual(await counts(t, id), { persistent: 4, all: 4 })
  // It counts a copy from its registration on.
  for (const holder of holders) await eventually('it is whole', () => keeps(t, holder, id))
})

matrixTest(
  6,
  'writing the same content again is no failure, here and on another host',
  async (t) => {
    const [one, two] = [await peerOf(t), await peerOf(t)]
    const content = new Content(5 * mebibyte, ++seed)
    const { id } = await one.write(content.bytes(), { replicas: 1 })
    assert.deepEqual(await counts(t, id), { persistent: 1, all: 1 })
    assert.equal((await one.write(content.bytes(), { replicas: 1 })).id, id)
    assert.deepEqual(await counts(t, id), { persistent: 1, all: 1 })
    assert.equal((await two.write(content.bytes(), { replicas: 1 })).id, id)
    // The second one really is one more holder: it serves when the first is gone.
    assert.deepEqual(await counts(t, id), { persistent: 2, all: 2 })
    await one.close()
    assert.deepEqual(await counts(t, id), { persistent: 1, all: 1 })
    const reader = await peerOf(t)
    verifyBytes(await reader.download({ task: id }).bytes(), content)
  },
)

matrixTest(6, 'a host that comes back is known as a holder again', async (t) => {
  const dir = tempFolder(t)
  const writer = await peerOf(t, { store: { dir } })
  const content = new Content(5 * mebibyte, ++seed)
  const { id } = await writer.write(content.bytes(), { replicas: 1 })
  // It takes its leave, and the scheduler forgets its copy; the task stays without anybody.
  await writer.close()
  await eventually('the copy is forgotten', async () => (await stat(t, id)) !== undefined)
  const back = await peerOf(t, { store: { dir } })
  await eventually('the copy is known', async () => (await counts(t, id)).persistent >= 1)
  const reader = await peerOf(t)
  verifyBytes(await reader.download({ task: id }).bytes(), content)
  assert.ok(await keeps(t, back, id))
})

matrixTest(6, 'a task that the scheduler was told to delete can be written again', async (t) => {
  const writer = await peerOf(t)
  const content = new Content(5 * mebibyte, ++seed)
  const { id } = await writer.write(content.bytes(), { replicas: 1 })
  const channel = openChannel({ address: site.scheduler.address })
  cleanup(t, () => channel.close())
  const scheduler = createClient(Scheduler, channel)
  await scheduler.deletePersistentCacheTask({ hostId: writer.hostId, taskId: id })
  assert.equal(await stat(t, id), undefined)
  // Without mutual TLS nobody on the network deletes here.
  assert.ok(await keeps(t, writer, id))
  await writer.write(content.bytes(), { replicas: 1 })
  assert.deepEqual(await counts(t, id), { persistent: 1, all: 1 })
})

matrixTest(
  6,
  'dfcache export of what we wrote, and our download of what dfcache imported',
  async (t, facts) => {
    const peer = await peerOf(t)
    const daemon = site.daemon(0)
    const folder = tempFolder(t)
    const content = new Content(21 * mebibyte + 1, ++seed)
    const { id } = await peer.write(content.bytes(), { replicas: 1 })
    const out = join(folder, 'out')
    const exported = await dfcache(t, daemon.socketPath, ['export', id, '-O', out], folder).done()
    facts.took(exported.tookMs)
    verifyBytes(await readFile(out), content)
    const other = new Content(21 * mebibyte + 2, ++seed)
    const path = join(folder, 'in')
    await writeFile(path, other.bytes())
    await dfcache(t, daemon.socketPath, ['import', path], folder).done()
    // It shows the id on a terminal only.
    const naming = new PersistentCacheTaskId({})
    naming.update(other.bytes())
    const imported = naming.id()
    const download = peer.download({ task: imported })
    verifyBytes(await download.bytes(), other)
    facts.traffic('ours', (await download.done).traffic)
  },
)

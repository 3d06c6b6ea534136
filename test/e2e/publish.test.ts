import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { Content } from '../support/content.ts'
import { origin } from '../support/origin.ts'
import { PeerProcess, type RemoteError } from './support/peer-process.ts'
import { assertCopies, contentBytes, Swarm } from './support/swarm.ts'

const content = new Content(9 * 1024 * 1024 + 3, 5)

test('Peer.write() in one process is read by its id in others', async (t) => {
  const writer = await PeerProcess.start(t)
  const { schedulerAddress: scheduler } = writer
  const replica = await PeerProcess.start(t, { scheduler })
  const reader = await PeerProcess.start(t, { scheduler })
  const path = join(writer.folder, 'written')
  writeFileSync(path, content.bytes())

  const task = await writer.write(path, { ttlMs: 600_000, replicas: 2 })
  assert.equal(task.length, content.length)
  const again = await writer.write(path, { ttlMs: 600_000, replicas: 2 })
  assert.equal(again.id, task.id)

  const inMemory = await reader.download({ task: task.id })
  assert.deepEqual([inMemory.length, inMemory.sha256], [content.length, content.sha256()])
  const onDisk = await replica.download({ task: task.id }, join(replica.folder, 'read'))
  assert.deepEqual([onDisk.length, onDisk.sha256], [content.length, content.sha256()])
  for (const peer of [reader, replica, writer]) await peer.close()
})

test('Peer.seed() publishes a file under a URL that nobody answers', async (t) => {
  const publisher = await PeerProcess.start(t)
  const reader = await PeerProcess.start(t, { scheduler: publisher.schedulerAddress })
  const path = join(publisher.folder, 'model')
  writeFileSync(path, content.bytes())
  const url = 'https://models.invalid/model'

  await publisher.seed(path, { url })
  const read = await reader.download(url, join(reader.folder, 'model'), { backToSource: 'never' })
  assert.deepEqual([read.length, read.sha256], [content.length, content.sha256()])
  assert.deepEqual(read.info.traffic, { source: 0, peers: content.length, local: 0 })
  await reader.close()
  await publisher.close()
})

test("Peer.download() with backToSource 'never' fails rather than touch the origin, and gets what others have", async (t) => {
  const swarm = await Swarm.start(t, 2, { limits: { parentsTimeoutMs: 1000 } })
  const served = await origin(t, { length: 5 * 1024 * 1024, seed: 6 })
  const [first, second] = swarm.others
  assert.ok(first !== undefined && second !== undefined)
  const never = { backToSource: 'never' } as const
  await assert.rejects(
    first.download(served.url, undefined, never),
    (error: RemoteError) => error.code === 'NO_PARENTS',
  )
  assert.equal(served.requests.length, 0)

  assertCopies([await second.download(served.url)], served)
  const before = contentBytes(served)
  assertCopies([await first.download(served.url, undefined, never)], served)
  assert.equal(contentBytes(served), before)
  await swarm.close()
})

test('Peer.download() of a range in one process, of everything in another, both exact', async (t) => {
  const swarm = await Swarm.start(t, 2)
  const served = await origin(t, { length: 21 * 1024 * 1024, seed: 8 })
  const [first, second] = swarm.others
  assert.ok(first !== undefined && second !== undefined)
  const range = { start: 4 * 1024 * 1024 - 5, length: 4 * 1024 * 1024 + 10 }
  const [part, whole] = await Promise.all([
    first.download(served.url, join(first.folder, 'part'), { range }),
    second.download(served.url, join(second.folder, 'whole')),
  ])
  assertCopies([whole], served)
  const wanted = createHash('sha256')
    .update(served.content.bytes(range.start, range.length))
    .digest('hex')
  assert.deepEqual([part.length, part.sha256], [range.length, wanted])
  assertCopies([await first.download(served.url, join(first.folder, 'whole'))], served)
  await swarm.close()
})

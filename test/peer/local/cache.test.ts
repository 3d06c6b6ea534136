import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { Code, ConnectError } from '@connectrpc/connect'
import { contentTaskId, PersistentCacheTaskId } from '../../../src/hash/task-id.ts'
import { TrafficType } from '../../../src/rpc/gen/common/v2/common_pb.ts'
import type { UploadPersistentCacheTaskRequestSchema } from '../../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { Content } from '../../support/content.ts'
import { leaks } from '../../support/leaks.ts'
import { verifyBytes, verifyFile } from '../../support/verify.ts'
import { bytesOf, exported, type LocalPeer, localPeer } from './local-peer.ts'

const mib = 1024 * 1024
const content = new Content(9 * mib + 5)
const hour = { seconds: 3600n, nanos: 0 }

type Upload = MessageInitShape<typeof UploadPersistentCacheTaskRequestSchema>

async function imported(local: LocalPeer, wish: Upload = {}): Promise<string> {
  const path = join(local.folder, 'in')
  await writeFile(path, content.bytes())
  const request: Upload = { path, ttl: hour, persistentReplicaCount: 2n, ...wish } as Upload
  const task = await local.client.uploadPersistentCacheTask(request)
  return task.id
}

test('A file that is imported on one peer is exported on another, each piece told once', async (t) => {
  leaks(t)
  const local = await localPeer(t)
  const id = await imported(local)
  assert.equal(id, new PersistentCacheTaskId().update(content.bytes()).id())
  const other = await localPeer(t, { scheduler: local.peer.schedulerAddress })
  const outputPath = join(other.folder, 'out')
  const told = await exported(other, { taskId: id, outputPath, tag: '', application: '' })
  assert.equal(told.error, undefined)
  assert.equal(told.contentLength, BigInt(content.length))
  const sum = told.pieces.reduce((bytes, { length }) => bytes + length, 0n)
  assert.equal(sum, told.contentLength)
  assert.equal(new Set(told.pieces.map(({ number }) => number)).size, told.pieces.length)
  await verifyFile(outputPath, content)
  const again = await exported(other, { taskId: id, needPieceContent: true })
  verifyBytes(bytesOf(again), content)
  assert.ok(again.pieces.every(({ trafficType }) => trafficType === TrafficType.LOCAL_PEER))
})

test('An import answers with what the scheduler knows, and can be repeated', async (t) => {
  const local = await localPeer(t)
  const path = join(local.folder, 'file')
  await writeFile(path, content.bytes())
  const request: Upload = {
    path,
    ttl: hour,
    persistentReplicaCount: 1n,
    tag: 'a',
    application: 'b',
  }
  const first = await local.client.uploadPersistentCacheTask(request)
  const again = await local.client.uploadPersistentCacheTask(request)
  assert.equal(first.id, again.id)
  assert.equal(first.contentLength, BigInt(content.length))
  assert.equal(first.pieceCount, 3)
  assert.equal(first.state, 'Succeeded')
  const stat = await local.client.statPersistentCacheTask({ taskId: first.id })
  assert.equal(stat.persistentReplicaCount, 1n)
  assert.ok((stat.ttl?.seconds ?? 0n) >= 3599n && (stat.ttl?.seconds ?? 0n) <= 3600n)
  assert.notEqual(stat.createdAt, undefined)
  assert.notEqual(stat.updatedAt, undefined)
  const { tasks } = await local.client.listLocalPersistentCacheTasks({})
  assert.deepEqual(
    tasks.map(({ taskId, persistent }) => [taskId, persistent]),
    [[first.id, true]],
  )
  const here = await local.client.statLocalPersistentCacheTask({ taskId: first.id })
  assert.equal(here.contentLength, BigInt(content.length))
  assert.deepEqual((await local.client.listLocalTasks({})).tasks, [])
})

test('An import can be named by a text', async (t) => {
  const local = await localPeer(t)
  const id = await imported(local, { contentForCalculatingTaskId: 'a text' })
  assert.equal(id, contentTaskId('a text'))
  verifyBytes(bytesOf(await exported(local, { taskId: id, needPieceContent: true })), content)
})

test('An import refuses what it cannot take', async (t) => {
  const local = await localPeer(t)
  const folder = join(local.folder, 'folder')
  await mkdir(folder)
  const table: readonly (readonly [Upload, Code])[] = [
    [{ path: 'relative' }, Code.InvalidArgument],
    [{ path: '' }, Code.InvalidArgument],
    [{ path: '/a\0b' }, Code.InvalidArgument],
    [{ path: folder }, Code.InvalidArgument],
    [{ path: '/dev/null' }, Code.InvalidArgument],
    [{ path: join(local.folder, 'missing') }, Code.NotFound],
    [{ ttl: { seconds: 10n } }, Code.InvalidArgument],
    [{ ttl: { seconds: 10_000_000n } }, Code.InvalidArgument],
    [{ persistentReplicaCount: 6n }, Code.InvalidArgument],
    [{ persistentReplicaCount: 2n ** 63n }, Code.InvalidArgument],
    [{ pieceLength: 5n }, Code.InvalidArgument],
  ]
  for (const [wish, code] of table) {
    await assert.rejects(imported(local, wish), (error) => {
      assert.equal(ConnectError.from(error).code, code, String(error))
      return true
    })
  }
  assert.deepEqual((await local.client.listLocalPersistentCacheTasks({})).tasks, [])
})

test('An export verifies the digest and says when nobody knows the task', async (t) => {
  const local = await localPeer(t)
  const id = await imported(local)
  const right = await exported(local, { taskId: id, digest: `sha256:${content.sha256()}` })
  assert.equal(right.error, undefined)
  const wrong = await exported(local, { taskId: id, digest: `sha256:${'0'.repeat(64)}` })
  assert.equal(wrong.error?.code, Code.DataLoss)
  const unknown = await exported(local, { taskId: 'f'.repeat(64) })
  assert.equal(unknown.error?.code, Code.NotFound)
  for (const taskId of ['', 'x', '../y', 'F'.repeat(64)]) {
    assert.equal((await exported(local, { taskId })).error?.code, Code.InvalidArgument)
  }
  const { client } = local
  await assert.rejects(client.statPersistentCacheTask({ taskId: 'f'.repeat(64) }), /task not found/)
})

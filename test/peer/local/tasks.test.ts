import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Code, ConnectError } from '@connectrpc/connect'
import { origin } from '../../support/origin.ts'
import { startPeer } from '../start-peer.ts'
import { download, localPeer } from './local-peer.ts'

const mib = 1024 * 1024
const unknown = 'f'.repeat(64)

/** Rejects with this code. */
function code(expected: Code): (error: unknown) => boolean {
  return (error) => {
    assert.equal(ConnectError.from(error).code, expected, String(error))
    return true
  }
}

test('StatLocalTask and ListLocalTasks say what is here', async (t) => {
  const from = await origin(t, { length: 5 * mib })
  const local = await localPeer(t)
  const { id } = await local.peer.download(from.url).done
  const written = await local.peer.write(new Uint8Array(10))
  const part = { range: { start: 0, length: 1 } }
  const half = await local.peer.download(from.urlOf('/half'), part).done
  const stat = await local.client.statLocalTask({ taskId: id })
  assert.equal(stat.contentLength, BigInt(5 * mib))
  assert.equal(stat.pieceLength, BigInt(4 * mib))
  assert.notEqual(stat.createdAt, undefined)
  assert.notEqual(stat.finishedAt, undefined)
  const { tasks } = await local.client.listLocalTasks({})
  const finished = new Map(
    tasks.map(({ taskId, finishedAt }) => [taskId, finishedAt !== undefined]),
  )
  assert.deepEqual(
    finished,
    new Map([
      [half.id, false],
      [id, true],
    ]),
  )
  for (const taskId of [unknown, 'x', '', written.id]) {
    await assert.rejects(local.client.statLocalTask({ taskId }), code(Code.NotFound))
  }
})

test('StatTask asks the scheduler', async (t) => {
  const from = await origin(t, { length: 5 * mib })
  const local = await localPeer(t)
  const { id } = await local.peer.download(from.urlOf('/a?key=secret')).done
  const task = await local.client.statTask({ taskId: id })
  assert.equal(task.contentLength, BigInt(5 * mib))
  assert.equal(task.pieceCount, 2)
  assert.doesNotMatch(task.url, /secret/)
  await assert.rejects(local.client.statTask({ taskId: unknown }), code(Code.NotFound))
})

test('DeleteTask and DeleteLocalTask drop a task here and at the scheduler', async (t) => {
  const from = await origin(t, { length: mib })
  const local = await localPeer(t)
  const other = await startPeer(t, { scheduler: local.peer.schedulerAddress })
  for (const method of ['deleteTask', 'deleteLocalTask'] as const) {
    const url = from.urlOf(`/${method}`)
    const { id } = await local.peer.download(url).done
    await local.client[method]({ taskId: id })
    await assert.rejects(local.client.statLocalTask({ taskId: id }), code(Code.NotFound))
    await assert.rejects(local.client[method]({ taskId: id }), code(Code.NotFound))
    const { traffic } = await other.download(url).done
    assert.equal(traffic.source, mib)
  }
})

test('DeleteTask refuses written files and ids that are none', async (t) => {
  const local = await localPeer(t)
  const { id } = await local.peer.write(new Uint8Array(10))
  for (const taskId of [id, unknown, '../x', '']) {
    await assert.rejects(local.client.deleteTask({ taskId }), code(Code.NotFound))
  }
  assert.equal((await local.client.listLocalPersistentCacheTasks({})).tasks.length, 1)
})

test('DeleteHost takes this host away from the schedulers', async (t) => {
  const from = await origin(t, { length: mib })
  const other = await startPeer(t)
  const local = await localPeer(t, { scheduler: other.schedulerAddress })
  await local.peer.download(from.url).done
  await local.client.deleteHost({})
  assert.equal((await other.download(from.url).done).traffic.source, mib)
  assert.equal((await download(local, { url: from.urlOf('/b') })).error, undefined)
})

test('Calls about object storage and cache tasks are refused with a reason', async (t) => {
  const { client } = await localPeer(t)
  const drain = async (messages: AsyncIterable<unknown>): Promise<void> => {
    for await (const message of messages) assert.fail(String(message))
  }
  const calls: readonly (() => Promise<unknown>)[] = [
    () => drain(client.downloadPersistentTask({})),
    () => client.uploadPersistentTask({}),
    () => client.statPersistentTask({}),
    () => client.statLocalPersistentTask({}),
    () => client.listLocalPersistentTasks({}),
    () => drain(client.downloadCacheTask({})),
    () => client.statCacheTask({}),
    () => client.deleteCacheTask({}),
  ]
  for (const call of calls) {
    await assert.rejects(call, (error) => {
      assert.match(ConnectError.from(error).message, /not supported/)
      return code(Code.Unimplemented)(error)
    })
  }
})

import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { PeerError } from '../../src/errors.ts'
import { MemoryStore } from '../../src/storage/memory-store.ts'
import { geometry } from '../../src/task/piece.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { leaks } from '../support/leaks.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyFile } from '../support/verify.ts'
import { code, keep, keepAll, MiB, never, readPiece, record, verifyTask } from './filling.ts'

const pieceLength = 100_000
const content = new Content(3 * pieceLength + 7)
const cut = geometry(content.length, pieceLength)

function opened(t: TestContext, bytesMax = 64 * MiB): MemoryStore {
  leaks(t)
  const store = new MemoryStore({ bytesMax })
  cleanup(t, () => store.close())
  return store
}

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

test('MemoryStore.create() puts bytes straight where they are kept', async (t) => {
  const store = opened(t)
  const task = await store.create(record(), cut)
  const slot = await task.slot(1, never)
  const { memory } = task
  assert.ok(memory !== undefined)
  assert.equal(memory.length, content.length)
  const space = slot.space()
  assert.equal(space?.buffer, memory.buffer)
  assert.equal(space?.byteOffset, memory.byteOffset + pieceLength)
  assert.equal(space?.length, pieceLength)
  slot.release()
  await keepAll(task, content)
  const request = { taskId: task.record.id, kind: 'standard', number: 2 } as const
  const piece = await store.open(request, never)
  assert.equal(piece.memory?.buffer, memory.buffer)
  assert.equal(piece.memory?.length, pieceLength)
  piece.close()
  assert.equal(content.difference(memory, 0), undefined)
})

test('MemoryStore.create() makes memory that workers can see', async (t) => {
  const store = opened(t)
  const task = await store.create(record(), cut, { shared: true })
  await keepAll(task, content)
  assert.ok(task.memory?.buffer instanceof SharedArrayBuffer)
  await verifyTask(store, task, content)
  const path = join(tempFolder(t), 'out')
  const output = { overwrite: false, writable: true, signal: never }
  assert.equal(await task.output(path, output), 'copy')
  await verifyFile(path, content)
})

test("MemoryStore.create() fills the caller's memory, and serves it", async (t) => {
  const store = opened(t)
  const outer = new Uint8Array(content.length + 20)
  const memory = outer.subarray(10, 10 + content.length)
  const task = await store.create(record(), cut, { memory })
  assert.equal(task.memory, memory)
  await keepAll(task, content)
  assert.equal(content.difference(memory, 0), undefined)
  assert.deepEqual([...outer.subarray(0, 10), ...outer.subarray(-10)], Array(20).fill(0))
  await verifyTask(store, task, content)
  const short = new Uint8Array(content.length - 1)
  await assert.rejects(store.create(record('short'), cut, { memory: short }), RangeError)
})

for (const how of ['given', 'asked for'] as const) {
  test(`MemoryStore never serves what the application wrote to memory that it was ${how}`, async (t) => {
    const store = opened(t)
    const memory = how === 'given' ? new Uint8Array(content.length) : undefined
    const task = await store.create(record(), cut, memory === undefined ? {} : { memory })
    await keepAll(task, content)
    const seen = memory ?? task.memory
    assert.ok(seen !== undefined)
    const dropped: unknown[] = []
    const listen = (message: unknown): void => void dropped.push(message)
    subscribe('dragonfly-peer:store:dropped', listen)
    cleanup(t, () => void unsubscribe('dragonfly-peer:store:dropped', listen))
    seen[pieceLength] = (seen[pieceLength] ?? 0) ^ 1
    await assert.rejects(readPiece(store, task, 1), (error) => {
      assert.ok(PeerError.is(error, 'STORE_CORRUPT'))
      assert.equal(error.details.piece, 1)
      return true
    })
    const { id } = task.record
    assert.deepEqual(dropped, [{ task: id, bytes: pieceLength, why: 'damaged' }])
    const output = { overwrite: false, writable: true, signal: never }
    const path = join(tempFolder(t), 'out')
    await assert.rejects(task.output(path, output), code('STORE_CORRUPT'))
    assert.equal(task.complete, false)
    assert.equal(content.difference(await readPiece(store, task, 0), 0), undefined)
    await keep(task, content, 1)
    await verifyTask(store, task, content)
    seen[0] = (seen[0] ?? 0) ^ 1
    await assert.rejects(task.output(path, output), code('STORE_CORRUPT'))
  })
}

test('MemoryStore.create() says TOO_LARGE before it allocates anything', async (t) => {
  const store = opened(t, 1000)
  await assert.rejects(store.create(record(), geometry(1001)), (error) => {
    assert.ok(PeerError.is(error, 'TOO_LARGE'))
    assert.deepEqual([error.details.length, error.details.lengthMax], [1001, 1000])
    return true
  })
  const huge = opened(t, Number.MAX_SAFE_INTEGER)
  await assert.rejects(huge.create(record(), geometry(2 ** 46)), code('TOO_LARGE'))
  assert.equal(huge.usage().bytes, 0)
})

test('MemoryStore.adopt() is not possible', async (t) => {
  await assert.rejects(opened(t).adopt(), TypeError)
})

test('MemoryStore keeps a weak task as long as the application has its memory, and no longer', async (t) => {
  const store = opened(t, content.length)
  const told: unknown[] = []
  let held: Uint8Array | undefined
  const make = async (): Promise<void> => {
    const task = await store.create(record(), cut, { weak: true })
    assert.equal(store.usage().bytes, content.length)
    await keepAll(task, content)
    held = task.memory
    task.onKept((number) => told.push(number))
  }
  await make()
  assert.deepEqual(store.usage(), { bytes: 0, bytesMax: content.length, tasks: 1 })
  const { id } = record()
  collectGarbage()
  await new Promise<void>((resolve) => setImmediate(resolve))
  const serve = async (): Promise<void> => {
    const task = store.get(id)
    assert.ok(task !== undefined)
    await verifyTask(store, task, content)
    // A hold takes room again, and gives it back.
    const release = task.hold()
    assert.equal(store.usage().bytes, content.length)
    release()
    assert.equal(store.usage().bytes, 0)
  }
  await serve()
  assert.equal(held?.length, content.length)
  assert.deepEqual(told, [])

  held = undefined
  const deadline = performance.now() + 10_000
  while (told.length === 0 && performance.now() < deadline) {
    collectGarbage()
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  assert.deepEqual(told, [undefined])
  assert.equal(store.get(id), undefined)
  assert.deepEqual(store.list(), [])
  assert.deepEqual(store.usage(), { bytes: 0, bytesMax: content.length, tasks: 0 })
  const request = { taskId: id, kind: 'standard', number: 0 } as const
  await assert.rejects(store.open(request, never), code('TASK_NOT_FOUND'))
})

test('MemoryStore holds the memory of a weak task while a piece is open or a hold is', async (t) => {
  const store = opened(t)
  const make = async (): Promise<() => void> => {
    const task = await store.create(record(), cut, { weak: true })
    const release = task.hold()
    await keepAll(task, content)
    return release
  }
  const release = await make()
  const request = { taskId: record().id, kind: 'standard', number: 1 } as const
  for (let round = 0; round < 5; round++) {
    collectGarbage()
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  const piece = await store.open(request, never)
  release()
  for (let round = 0; round < 5; round++) {
    collectGarbage()
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  assert.ok(piece.memory !== undefined)
  assert.equal(content.difference(piece.memory, pieceLength), undefined)
  piece.close()
})

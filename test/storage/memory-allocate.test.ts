import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryStore } from '../../src/storage/memory-store.ts'
import { geometry } from '../../src/task/piece.ts'
import { Content } from '../support/content.ts'
import { cleanup } from '../support/cleanup.ts'
import { code, keepAll, MiB, never, record, spoolAll, verifyTask } from './filling.ts'

const length = 3 * MiB
const cut = geometry(length, MiB)

test('MemoryStore puts content into the memory that its allocator makes', async (t) => {
  const made: ArrayBuffer[] = []
  const store = new MemoryStore({
    bytesMax: 64 * MiB,
    allocate: async (byteLength) => {
      // Longer than it must be, as memory in pages is.
      const buffer = new ArrayBuffer(byteLength + 4096)
      made.push(buffer)
      return buffer
    },
  })
  cleanup(t, () => store.close())
  const content = new Content(length, 3)
  const task = await store.create(record(), cut)
  await keepAll(task, content)
  await verifyTask(store, task, content)
  assert.equal(task.memory?.buffer, made[0])
  assert.equal(task.memory?.length, length)
  const spool = await store.spool()
  await spoolAll(spool, content)
  const written = await spool.finish(record('written'))
  assert.equal(written.memory?.buffer, made[1])
  const shared = await store.create(record('shared'), cut, { shared: true })
  assert.ok(shared.memory?.buffer instanceof SharedArrayBuffer)
  const own = new Uint8Array(length)
  const into = await store.create(record('own'), cut, { memory: own })
  assert.equal(into.memory?.buffer, own.buffer)
  await store.create(record('empty'), geometry(0))
  assert.equal(made.length, 2)
})

test('MemoryStore takes ordinary memory when its allocator has none', async (t) => {
  const content = new Content(length, 4)
  for (const allocate of [
    () => Promise.resolve(undefined),
    () => Promise.reject(new Error('no such memory')),
  ]) {
    const store = new MemoryStore({ bytesMax: 64 * MiB, allocate })
    cleanup(t, () => store.close())
    const task = await store.create(record(), cut)
    await keepAll(task, content)
    await verifyTask(store, task, content)
  }
})

test('MemoryStore.create() fails when the store is closed meanwhile, and takes no room', async () => {
  let goOn = (): void => undefined
  const gate = new Promise<void>((resolve) => {
    goOn = resolve
  })
  const store = new MemoryStore({
    bytesMax: 64 * MiB,
    allocate: async () => {
      await gate
      return undefined
    },
  })
  const creating = assert.rejects(store.create(record(), cut), code('CLOSED'))
  const closing = store.close()
  goOn()
  await creating
  await closing
  assert.equal(store.usage().bytes, 0)
})

test('MemoryStore.open() gives the content around a piece, and compares it unless it is told not to', async (t) => {
  const store = new MemoryStore({ bytesMax: 64 * MiB })
  cleanup(t, () => store.close())
  const own = new Uint8Array(length)
  const task = await store.create(record(), cut, { memory: own })
  await keepAll(task, new Content(length, 5))
  const wanted = { taskId: task.record.id, kind: task.record.kind, number: 1 }
  const open = await store.open(wanted, never)
  assert.equal(open.content?.buffer, own.buffer)
  assert.equal(open.content?.length, length)
  assert.equal(open.memory?.byteOffset, MiB)
  open.close()
  own[MiB + 5] = (own[MiB + 5] ?? 0) ^ 1
  const unchecked = await store.open({ ...wanted, unchecked: true }, never)
  unchecked.close()
  await assert.rejects(store.open(wanted, never), code('STORE_CORRUPT'))
})

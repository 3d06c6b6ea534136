import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { defaultFilteredQueryParams, sharedQueryParams } from '../../src/hash/task-url.ts'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { geometry } from '../../src/task/piece.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { keepAll, record } from './filling.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const count = 600
const content = new Content(1)
const cut = geometry(content.length, 1024 * 1024)

async function opened(t: TestContext, dir: string): Promise<DiskStore> {
  const store = await DiskStore.open({ dir })
  cleanup(t, () => store.close())
  return store
}

async function keepMany(store: DiskStore, name: string): Promise<void> {
  for (let at = 0; at < count; at++) {
    const url = `http://127.0.0.1/${name}-${at}`
    const filteredQueryParams = sharedQueryParams([...defaultFilteredQueryParams])
    const task = await store.create(record(url, { url, filteredQueryParams }), cut)
    await keepAll(task, content)
    await task.update({ validator: `etag:"${at}"` })
  }
}

async function deleteAll(store: DiskStore): Promise<void> {
  for (const { record: kept } of store.list()) await store.delete(kept.id)
}

/** After everything that finalizers and promises still hold. */
async function heapBytes(): Promise<number> {
  for (let round = 0; round < 4; round++) {
    collectGarbage()
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  return process.memoryUsage().heapUsed
}

test('DiskStore keeps a task of one piece in less than 2.75 KiB of heap, and nothing of one that was deleted', async (t) => {
  const store = await opened(t, join(tempFolder(t), 'store'))
  // Code is compiled, pools are filled.
  await keepMany(store, 'warm-up')
  await deleteAll(store)
  const before = await heapBytes()
  await keepMany(store, 'kept')
  const each = ((await heapBytes()) - before) / count
  assert.ok(each < 2816, `${each.toFixed(0)} B a task`)
  await deleteAll(store)
  const left = ((await heapBytes()) - before) / count
  assert.ok(left < 768, `${left.toFixed(0)} B a task`)
})

test('DiskStore.open() takes as little for a task that was kept before', async (t) => {
  const dir = join(tempFolder(t), 'store')
  const first = await opened(t, dir)
  await keepMany(first, 'kept')
  await first.close()
  // Code is compiled.
  await (await opened(t, dir)).close()
  const begun = await heapBytes()
  const again = await opened(t, dir)
  assert.equal(again.usage().tasks, count)
  const each = ((await heapBytes()) - begun) / count
  assert.ok(each < 2816, `${each.toFixed(0)} B a task`)
})

import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { closeSync, ftruncateSync, openSync, readdirSync, rmSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { cleanup } from '../support/cleanup.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { code, keep, keepAll, never, readPiece, record, verifyTask } from './filling.ts'
import {
  content,
  contentPath,
  cut,
  flip,
  folder,
  found,
  opened,
  pieceLength,
  prepared,
} from './prepared.ts'

test('DiskStore finds a flipped bit when the piece is first used after a restart, and fetches it again', async (t) => {
  const dir = folder(t)
  const id = await prepared(dir)
  flip(contentPath(dir, id), 2 * pieceLength + 50)
  const store = await opened(t, dir)
  const dropped: unknown[] = []
  const listen = (message: unknown): void => void dropped.push(message)
  subscribe('dragonfly-peer:store:dropped', listen)
  cleanup(t, () => void unsubscribe('dragonfly-peer:store:dropped', listen))
  const task = found(store, id)
  assert.equal(task.complete, true)
  const readers = [1, 2, 3].map(() => readPiece(store, task, 2))
  for (const reader of readers) await assert.rejects(reader, code('STORE_CORRUPT'))
  assert.deepEqual(dropped, [{ task: id, bytes: pieceLength, why: 'damaged' }])
  assert.equal(task.has(2), false)
  await assert.rejects(readPiece(store, task, 2), code('TASK_NOT_FOUND'))
  assert.equal(content.difference(await readPiece(store, task, 1), pieceLength), undefined)
  await keep(task, content, 2)
  await verifyTask(store, task, content)
  await store.close()
  const again = await opened(t, dir)
  await verifyTask(again, found(again, id), content)
})

test('DiskStore remembers that a piece was damaged', async (t) => {
  const dir = folder(t)
  const id = await prepared(dir)
  flip(contentPath(dir, id), 0)
  const store = await DiskStore.open({ dir })
  await assert.rejects(readPiece(store, found(store, id), 0), code('STORE_CORRUPT'))
  await store.close()
  const again = await opened(t, dir)
  assert.equal(found(again, id).has(0), false)
  assert.equal(found(again, id).keptCount, cut.pieceCount - 1)
})

test('DiskStore.output() never delivers a flipped bit, and names everything damaged at once', async (t) => {
  const dir = folder(t)
  const out = tempFolder(t)
  const id = await prepared(dir)
  flip(contentPath(dir, id), 0)
  flip(contentPath(dir, id), 3 * pieceLength)
  const store = await opened(t, dir)
  const task = found(store, id)
  for (const writable of [true, false]) {
    const options = { overwrite: false, writable, signal: never }
    await assert.rejects(task.output(join(out, 'file'), options), code('STORE_CORRUPT'))
  }
  assert.deepEqual(readdirSync(out), [])
  assert.deepEqual([task.has(0), task.has(3), task.keptCount], [false, false, cut.pieceCount - 2])
})

for (const [what, harm] of [
  ['removed', (path: string) => rmSync(path)],
  ['cut', (path: string) => truncateSync(path, pieceLength)],
] as const) {
  test(`DiskStore fetches again what is lost when a content file was ${what}`, async (t) => {
    const dir = folder(t)
    const id = await prepared(dir)
    const store = await opened(t, dir)
    harm(contentPath(dir, id))
    const task = found(store, id)
    const output = task.output(join(dir, 'out'), {
      overwrite: false,
      writable: true,
      signal: never,
    })
    await assert.rejects(output, code('STORE_CORRUPT'))
    assert.equal(task.keptCount, what === 'cut' ? 1 : 0)
    await assert.rejects(readPiece(store, task, 4), code('TASK_NOT_FOUND'))
    // What is missing now was lost, and not forgotten by the caller.
    const again = task.output(join(dir, 'out'), { overwrite: false, writable: true, signal: never })
    await assert.rejects(again, code('STORE_CORRUPT'))
    await keepAll(task, content)
    await verifyTask(store, task, content)
    assert.equal(store.usage().bytes, content.length)
  })
}

test('DiskStore.open() forgets a task whose content file was removed', async (t) => {
  const dir = folder(t)
  const id = await prepared(dir)
  rmSync(contentPath(dir, id))
  const store = await opened(t, dir)
  assert.equal(store.get(id), undefined)
  assert.deepEqual({ ...store.usage(), bytesMax: 0 }, { bytes: 0, bytesMax: 0, tasks: 0 })
  const task = await store.create(record(), cut)
  await keepAll(task, content)
  await verifyTask(store, task, content)
})

test('DiskStore throws at an open reader when the file got shorter under it', async (t) => {
  const dir = folder(t)
  const store = await opened(t, dir)
  const task = await store.create(record(), cut)
  await keepAll(task, content)
  const reader = await store.open({ taskId: task.record.id, kind: 'standard', number: 3 }, never)
  const file = openSync(contentPath(dir, task.record.id), 'r+')
  ftruncateSync(file, 3 * pieceLength + 10)
  closeSync(file)
  await assert.rejects(reader.read(new Uint8Array(100), 0), code('STORE_CORRUPT'))
  reader.close()
  await assert.rejects(reader.read(new Uint8Array(100), 0), code('CLOSED'))
  await assert.rejects(readPiece(store, task, 3), code('STORE_CORRUPT'))
})

test('DiskTask.slot() of a task that is deleted at that moment says TASK_NOT_FOUND', async (t) => {
  const dir = folder(t)
  const store = await opened(t, dir)
  for (let round = 0; round < 20; round++) {
    const task = await store.create(record(`task ${round}`), cut)
    const deleting = store.delete(task.record.id)
    for (let turn = 0; turn < round % 5; turn++) await Promise.resolve()
    const results = await Promise.allSettled([0, 1, 2].map((number) => task.slot(number, never)))
    for (const result of results) {
      if (result.status === 'fulfilled') result.value.release()
      else assert.equal((result.reason as { code?: unknown }).code, 'TASK_NOT_FOUND')
    }
    await deleting
  }
})

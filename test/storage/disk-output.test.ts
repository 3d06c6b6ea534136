import assert from 'node:assert/strict'
import {
  chmodSync,
  closeSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { DiskStore } from '../../src/storage/disk-store.ts'
import type { KeptTask } from '../../src/storage/store.ts'
import { geometry } from '../../src/task/piece.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { leaks } from '../support/leaks.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyFile } from '../support/verify.ts'
import { bytesOf, code, keep, keepAll, never, readPiece, record, verifyTask } from './filling.ts'
import { tmpfs } from './tmpfs.ts'

const pieceLength = 100_000
const content = new Content(4 * pieceLength + 7)
const cut = geometry(content.length, pieceLength)
const linked = { overwrite: false, writable: false, signal: never }

interface Scene {
  readonly dir: string
  readonly folder: string
  readonly store: DiskStore
  readonly task: KeptTask
  /** Where the store's own file lies. */
  readonly kept: string
}

async function scene(t: TestContext): Promise<Scene> {
  leaks(t)
  const folder = tempFolder(t)
  const dir = join(folder, 'store')
  const store = await DiskStore.open({ dir })
  cleanup(t, () => store.close())
  const task = await store.create(record(), cut)
  await keepAll(task, content)
  const { id } = task.record
  return { dir, folder, store, task, kept: join(dir, 'content', id.slice(0, 3), id) }
}

/** Changes one byte, as somebody who has the rights. */
function edit(path: string, position: number, value = 0): void {
  const { mode } = statSync(path)
  chmodSync(path, 0o644)
  const file = openSync(path, 'r+')
  writeSync(file, Uint8Array.of(value), 0, 1, position)
  closeSync(file)
  chmodSync(path, mode)
}

/** The byte that does not stand there. */
function wrong(position: number): number {
  return ((content.bytes(position, 1)[0] ?? 0) ^ 1) & 0xff
}

test('DiskStore.output() makes a hard link that nobody can write to by accident', async (t) => {
  const { folder, store, task, kept } = await scene(t)
  const path = join(folder, 'out')
  assert.equal(await task.output(path, linked), 'link')
  const stats = statSync(path)
  assert.equal(stats.ino, statSync(kept).ino)
  assert.equal(stats.mode & 0o777, 0o444)
  assert.equal(await task.output(join(folder, 'two'), linked), 'link')
  assert.equal(statSync(path).nlink, 3)
  await verifyTask(store, task, content)
  await store.delete(task.record.id)
  assert.equal(statSync(path).nlink, 2)
  await verifyFile(path, content)
})

test('DiskStore.output() makes a file of its own when it will be written to', async (t) => {
  const { folder, task, kept } = await scene(t)
  const before = process.umask(0o027)
  cleanup(t, () => void process.umask(before))
  const path = join(folder, 'out')
  const way = await task.output(path, { ...linked, writable: true })
  assert.ok(way === 'copy' || way === 'reflink')
  assert.notEqual(statSync(path).ino, statSync(kept).ino)
  assert.equal(statSync(path).mode & 0o777, 0o640)
  assert.equal(statSync(kept).mode & 0o777, 0o600)
  assert.equal(statSync(kept).nlink, 1)
})

test('DiskStore.output() copies to another file system', async (t) => {
  const other = tmpfs(t, 4 * 1024 * 1024)
  if (other === undefined) return
  const { store, task } = await scene(t)
  const path = join(other, 'out')
  assert.equal(await task.output(path, linked), 'copy')
  assert.equal(await task.output(path, { ...linked, overwrite: true }), 'copy')
  await verifyFile(path, content)
  assert.deepEqual(readdirSync(other), ['out'])
  edit(path, 5, wrong(5))
  await verifyTask(store, task, content)
})

test('DiskStore finds an edit of a linked output at once, delivers none of it, and heals into a new file', async (t) => {
  const { folder, store, task, kept } = await scene(t)
  const path = join(folder, 'out')
  await task.output(path, linked)
  const position = 2 * pieceLength + 5
  edit(path, position, wrong(position))
  const { ino } = statSync(path)
  await assert.rejects(readPiece(store, task, 2), code('STORE_CORRUPT'))
  assert.deepEqual([task.has(2), task.complete], [false, false])
  for (const number of [0, 1, 3, 4]) {
    const bytes = await readPiece(store, task, number)
    assert.equal(content.difference(bytes, number * pieceLength), undefined)
  }
  await assert.rejects(task.output(join(folder, 'two'), linked), code('STORE_CORRUPT'))

  await keep(task, content, 2)
  await verifyTask(store, task, content)
  assert.notEqual(statSync(kept).ino, ino)
  assert.equal(statSync(kept).mode & 0o777, 0o600)
  // The application keeps what it wrote, and may go on writing.
  assert.equal(statSync(path).ino, ino)
  assert.equal(readFileSync(path)[position], wrong(position))
  edit(path, 0, wrong(0))
  await verifyTask(store, task, content)
  assert.equal(await task.output(join(folder, 'two'), linked), 'link')
  await verifyFile(join(folder, 'two'), content)
  assert.equal(store.usage().bytes, content.length)
  assert.deepEqual(readdirSync(join(folder, 'store', 'content')).length, 1)
})

test('DiskStore heals all damaged pieces of a linked file when several are fetched at once', async (t) => {
  const { folder, store, task } = await scene(t)
  const path = join(folder, 'out')
  await task.output(path, linked)
  for (const number of [0, 1, 3]) edit(path, number * pieceLength, wrong(number * pieceLength))
  await assert.rejects(task.output(join(folder, 'two'), linked), code('STORE_CORRUPT'))
  assert.equal(task.keptCount, cut.pieceCount - 3)
  await Promise.all([0, 1, 3].map((number) => keep(task, content, number)))
  await verifyTask(store, task, content)
})

test('DiskStore does not copy a damaged piece that nobody has read into the new file', async (t) => {
  const { folder, store, task } = await scene(t)
  const path = join(folder, 'out')
  await task.output(path, linked)
  edit(path, 0, wrong(0))
  edit(path, 3 * pieceLength, wrong(3 * pieceLength))
  await assert.rejects(readPiece(store, task, 0), code('STORE_CORRUPT'))
  await keep(task, content, 0)
  assert.equal(task.has(3), false)
  await keepAll(task, content)
  await verifyTask(store, task, content)
})

test('DiskStore notices an edit under an open reader', async (t) => {
  const { folder, store, task } = await scene(t)
  const { id: taskId } = task.record
  const early = await store.open({ taskId, kind: 'standard', number: 1 }, never)
  const path = join(folder, 'out')
  await task.output(path, linked)
  const late = await store.open({ taskId, kind: 'standard', number: 1 }, never)
  assert.equal(content.difference(await bytesOf(late), pieceLength), undefined)
  assert.equal(content.difference(await bytesOf(early), pieceLength), undefined)
  edit(path, pieceLength + 9, wrong(pieceLength + 9))
  for (const reader of [early, late]) {
    await assert.rejects(reader.read(new Uint8Array(100), 0), code('STORE_CORRUPT'))
    reader.close()
  }
})

test('DiskStore notices every one of many edits in quick succession', async (t) => {
  const { folder, store, task } = await scene(t)
  const path = join(folder, 'out')
  await task.output(path, linked)
  for (let round = 0; round < 20; round++) {
    edit(path, 0, wrong(0))
    edit(path, 0, content.bytes(0, 1)[0] ?? 0)
    const bytes = await readPiece(store, task, 0)
    assert.equal(content.difference(bytes, 0), undefined)
  }
  edit(path, 0, wrong(0))
  await assert.rejects(readPiece(store, task, 0), code('STORE_CORRUPT'))
})

test('DiskStore knows after a restart that an output has its file', async (t) => {
  const { dir, folder, store, task, kept } = await scene(t)
  const path = join(folder, 'out')
  await task.output(path, linked)
  await store.close()
  const again = await DiskStore.open({ dir })
  cleanup(t, () => again.close())
  const same = again.get(task.record.id)
  assert.ok(same !== undefined)
  await verifyTask(again, same, content)
  edit(path, 0, wrong(0))
  await assert.rejects(readPiece(again, same, 0), code('STORE_CORRUPT'))
  await keep(same, content, 0)
  await verifyTask(again, same, content)
  assert.notEqual(statSync(kept).ino, statSync(path).ino)
})

test('DiskStore loses nothing when a linked output is renamed, touched, linked or removed', async (t) => {
  const { folder, store, task } = await scene(t)
  const path = join(folder, 'out')
  await task.output(path, linked)
  const changes = [
    () => renameSync(path, join(folder, 'moved')),
    () => utimesSync(join(folder, 'moved'), 1, 1),
    () => chmodSync(join(folder, 'moved'), 0o600),
    () => linkSync(join(folder, 'moved'), join(folder, 'more')),
    () => rmSync(join(folder, 'moved')),
    () => rmSync(join(folder, 'more')),
  ]
  for (const change of changes) {
    change()
    await verifyTask(store, task, content)
  }
  assert.equal(task.complete, true)
})

test('DiskStore.output() copies what it holds open when somebody removed its name', async (t) => {
  const { folder, store, task, kept } = await scene(t)
  await verifyTask(store, task, content)
  rmSync(kept)
  const path = join(folder, 'out')
  assert.equal(await task.output(path, linked), 'copy')
  await verifyFile(path, content)
})

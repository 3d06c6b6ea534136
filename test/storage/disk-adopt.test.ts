import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { readAdopted } from '../../src/storage/adoption.ts'
import { SlabPool } from '../../src/storage/slabs.ts'
import { loadXxhash } from '../../src/hash/xxhash.ts'
import type { KeptTask } from '../../src/storage/store.ts'
import { geometry, pieceAt } from '../../src/task/piece.ts'
import { systemClock } from '../../src/util/clock.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { leaks } from '../support/leaks.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyFile } from '../support/verify.ts'
import { code, digestOf, keep, keepAll, never, readPiece, record, verifyTask } from './filling.ts'

const pieceLength = 100_000
const content = new Content(4 * pieceLength + 7)
const cut = geometry(content.length, pieceLength)

interface Scene {
  readonly dir: string
  readonly path: string
  readonly store: DiskStore
}

async function scene(t: TestContext): Promise<Scene> {
  leaks(t)
  const folder = tempFolder(t)
  const dir = join(folder, 'store')
  const store = await DiskStore.open({ dir })
  cleanup(t, () => store.close())
  const path = join(folder, 'file')
  writeFileSync(path, content.bytes())
  return { dir, path, store }
}

function adopt({ store, path }: Scene, more: { url?: string } = {}): Promise<KeptTask> {
  return store.adopt(record('file', more), path, pieceLength, never)
}

/** Changes one byte in place. */
function edit(path: string, position: number): void {
  const bytes = readFileSync(path)
  bytes[position] = (bytes[position] ?? 0) ^ 1
  writeFileSync(path, bytes, { flag: 'r+' })
}

test('DiskStore.adopt() serves a file without a copy, and leaves it alone', async (t) => {
  const stage = await scene(t)
  const { store, path } = stage
  const before = statSync(path)
  const task = await adopt(stage)
  assert.equal(task.complete, true)
  assert.deepEqual(task.geometry, cut)
  for (let number = 0; number < cut.pieceCount; number++) {
    assert.equal(task.digestOf(number), digestOf(content, pieceAt(cut, number)))
  }
  await verifyTask(store, task, content)
  assert.deepEqual({ ...store.usage(), bytesMax: 0 }, { bytes: 0, bytesMax: 0, tasks: 1 })
  const out = `${path}.out`
  const way = await task.output(out, { overwrite: false, writable: false, signal: never })
  assert.notEqual(way, 'link')
  await verifyFile(out, content)
  const after = statSync(path)
  assert.deepEqual(
    [after.ino, after.mode, after.mtimeMs, after.ctimeMs, after.nlink],
    [before.ino, before.mode, before.mtimeMs, before.ctimeMs, before.nlink],
  )
  assert.equal(await store.delete(task.record.id), true)
  await verifyFile(path, content)
})

test('DiskStore.adopt() survives a restart, with the change that was made meanwhile', async (t) => {
  const stage = await scene(t)
  const { id } = (await adopt(stage)).record
  await stage.store.close()
  const second = await DiskStore.open({ dir: stage.dir })
  const same = second.get(id)
  assert.ok(same !== undefined)
  await verifyTask(second, same, content)
  await second.close()
  edit(stage.path, pieceLength)
  const third = await DiskStore.open({ dir: stage.dir })
  cleanup(t, () => third.close())
  const changed = third.get(id)
  assert.ok(changed !== undefined)
  await assert.rejects(readPiece(third, changed, 1), code('FILE_CHANGED'))
  assert.equal(content.difference(await readPiece(third, changed, 0), 0), undefined)
})

const changes: readonly (readonly [string, (path: string) => void])[] = [
  ['edited in place', (path) => edit(path, 2 * pieceLength)],
  ['cut', (path) => truncateSync(path, 2 * pieceLength + 1)],
  [
    'replaced',
    (path) => {
      writeFileSync(`${path}.new`, new Content(content.length, 8).bytes())
      renameSync(`${path}.new`, path)
    },
  ],
  ['removed', (path) => rmSync(path)],
]
for (const [what, change] of changes) {
  test(`DiskStore never serves what is different in an adopted file that was ${what}`, async (t) => {
    const stage = await scene(t)
    const { id } = (await adopt(stage)).record
    if (what === 'replaced' || what === 'removed') {
      // As long as the old file is open, it is what is served.
      await stage.store.close()
      change(stage.path)
    }
    const store =
      what === 'replaced' || what === 'removed'
        ? await DiskStore.open({ dir: stage.dir })
        : stage.store
    cleanup(t, () => store.close())
    if (store === stage.store) change(stage.path)
    const task = store.get(id)
    assert.ok(task !== undefined)
    await assert.rejects(readPiece(store, task, 2), code('FILE_CHANGED'))
    assert.equal(task.has(2), false)
    const out = join(stage.dir, 'out')
    const output = task.output(out, { overwrite: false, writable: true, signal: never })
    await assert.rejects(output, code('STORE_CORRUPT'))

    // Fetched from others, it becomes the store's own; the application's file stays as it is.
    const there = what === 'removed' ? undefined : readFileSync(stage.path)
    await keep(task, content, 2)
    await keepAll(task, content)
    await verifyTask(store, task, content)
    assert.equal(store.usage().bytes, content.length)
    if (there !== undefined) assert.deepEqual(readFileSync(stage.path), there)
    await store.close()
    const again = await DiskStore.open({ dir: stage.dir })
    cleanup(t, () => again.close())
    const own = again.get(id)
    assert.ok(own !== undefined)
    await verifyTask(again, own, content)
  })
}

test('DiskStore believes an adopted file again after it was touched or appended to', async (t) => {
  const stage = await scene(t)
  const task = await adopt(stage)
  utimesSync(stage.path, 5, 5)
  await verifyTask(stage.store, task, content)
  appendFileSync(stage.path, 'more')
  await verifyTask(stage.store, task, content)
  assert.equal(task.complete, true)
})

test('DiskStore.adopt() keeps a task that is the same, and replaces one that is not', async (t) => {
  const stage = await scene(t)
  const { store, path } = stage
  const first = await adopt(stage)
  const same = await adopt(stage, { url: 'http://host/' })
  assert.equal(same, first)
  assert.equal(same.record.url, 'http://host/')
  const next = new Content(content.length, 2)
  writeFileSync(path, next.bytes())
  let told: unknown = 'nothing'
  first.onKept((number) => {
    told = number
  })
  const second = await adopt(stage)
  assert.notEqual(second, first)
  assert.equal(told, undefined)
  await verifyTask(store, second, next)

  const own = await store.create(record('own'), cut)
  await keepAll(own, next)
  assert.equal(await store.adopt(own.record, path, pieceLength, never), own)
})

test('DiskStore.adopt() names what it cannot adopt', async (t) => {
  const { store, path, dir } = await scene(t)
  const signal = never
  const folder = join(dir, 'folder')
  mkdirSync(folder)
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  await assert.rejects(
    store.adopt(record(), join(folder, 'no'), 10, signal),
    code('FILE_NOT_FOUND'),
  )
  await assert.rejects(store.adopt(record(), folder, 10, signal), code('STORE_FAILED'))
  await assert.rejects(store.adopt(record(), pipe, 10, signal), code('STORE_FAILED'))
  await assert.rejects(store.adopt(record(), path, 0, signal), RangeError)
  const reason = new Error('enough')
  await assert.rejects(
    store.adopt(record(), path, pieceLength, AbortSignal.abort(reason)),
    (error) => error === reason,
  )
  writeFileSync(join(folder, 'empty'), '')
  const empty = await store.adopt(record('empty'), join(folder, 'empty'), 10, signal)
  assert.equal(empty.complete, true)
  assert.equal(store.list().length, 1)
})

test('readAdopted() refuses a file that changes while it is read', async (t) => {
  leaks(t)
  const path = join(tempFolder(t), 'file')
  writeFileSync(path, content.bytes())
  let count = 0
  class Pool extends SlabPool {
    override take(signal: AbortSignal): Promise<Uint8Array> {
      count++
      if (count === 3) edit(path, 0)
      return super.take(signal)
    }
  }
  const host = { clock: systemClock, readSlabs: new Pool(), xxhash: await loadXxhash() }
  const file = { task: 'task', path, pieceLength }
  await assert.rejects(readAdopted(host, file, never), code('FILE_CHANGED'))
  const { sums } = await readAdopted(host, file, never)
  assert.equal(sums.length, cut.pieceCount)
  assert.equal(host.readSlabs.taken, 0)
})

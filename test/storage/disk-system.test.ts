import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { idleDescriptorsMax } from '../../src/storage/descriptors.ts'
import { cleanup } from '../support/cleanup.ts'
import { leaks } from '../support/leaks.ts'
import { storeChild } from './child.ts'
import { code, keepAll, MiB, record, verifyTask } from './filling.ts'
import { content, cut, folder, found, opened, prepared } from './prepared.ts'
import { tmpfs } from './tmpfs.ts'

test('DiskStore.open() on a file system that became read-only says PERMISSION_DENIED and changes nothing', async (t) => {
  const disk = tmpfs(t, 8 * MiB)
  if (disk === undefined) return
  leaks(t)
  const dir = join(disk, 'store')
  const id = await prepared(dir)
  const files = readdirSync(dir, { recursive: true })
  const journal = readFileSync(join(dir, 'journal'))
  const mount = (how: string): void => {
    execFileSync('mount', ['-o', `remount,${how}`, disk], { stdio: 'ignore' })
  }
  mount('ro')
  cleanup(t, () => mount('rw'))
  await assert.rejects(DiskStore.open({ dir }), code('PERMISSION_DENIED'))
  mount('rw')
  assert.deepEqual(readdirSync(dir, { recursive: true }), files)
  assert.deepEqual(readFileSync(join(dir, 'journal')), journal)
  const store = await opened(t, dir)
  await verifyTask(store, found(store, id), content)
})

test('DiskStore says EMFILE when the process has no descriptor left, and goes on when it has some again', async (t) => {
  const dir = folder(t)
  await prepared(dir)
  const child = storeChild(t, 'starve', dir)
  const said: (string | undefined)[] = []
  for (let line = await child.next(); line !== undefined; line = await child.next()) said.push(line)
  assert.deepEqual(said, [
    'open',
    'create: STORE_FAILED EMFILE',
    'spool: STORE_FAILED EMFILE',
    'read: STORE_FAILED EMFILE',
    'again: right',
  ])
  assert.equal(await child.left(), 0)
})

test('DiskStore gives up descriptors that rest when the process has no other left', async (t) => {
  const dir = folder(t)
  const store = await DiskStore.open({ dir })
  for (let at = 0; at < idleDescriptorsMax; at++) {
    await keepAll(await store.create(record(`resting ${at}`), cut), content)
  }
  await store.close()
  const child = storeChild(t, 'rest', dir)
  assert.equal(await child.next(), 'open')
  assert.equal(await child.next(), 'read all: right')
  assert.equal(await child.left(), 0)
})

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { nameNew } from '../../src/storage/placement.ts'
import { geometry } from '../../src/task/piece.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { leaks } from '../support/leaks.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyFile } from '../support/verify.ts'
import { keepAll, MiB, never, record, verifyTask } from './filling.ts'

function refusing(code: string): () => Promise<void> {
  return () => Promise.reject(Object.assign(new Error(code), { code }))
}

test('nameNew() never replaces a file, also where there are no links', async (t) => {
  const folder = tempFolder(t)
  const [from, to] = [join(folder, 'from'), join(folder, 'to')]
  for (const makeLink of [undefined, refusing('EPERM'), refusing('ENOTSUP')]) {
    writeFileSync(from, 'content')
    writeFileSync(to, 'mine')
    await assert.rejects(nameNew(from, to, makeLink), { code: 'EEXIST' })
    assert.equal(readFileSync(to, 'utf8'), 'mine')
    const path = join(folder, `free ${makeLink === undefined} ${readdirSync(folder).length}`)
    await nameNew(from, path, makeLink)
    assert.equal(readFileSync(path, 'utf8'), 'content')
  }
})

test('nameNew() leaves no empty file when the rename fails', async (t) => {
  const folder = tempFolder(t)
  const missing = nameNew(join(folder, 'missing'), join(folder, 'to'), refusing('EPERM'))
  await assert.rejects(missing, { code: 'ENOENT' })
  assert.deepEqual(readdirSync(folder), [])
  writeFileSync(join(folder, 'from'), '')
  const other = nameNew(join(folder, 'from'), join(folder, 'to'), refusing('EIO'))
  await assert.rejects(other, { code: 'EIO' })
  assert.deepEqual(readdirSync(folder), ['from'])
})

/** A file system that can share extents, or undefined after `t.skip()` where none can be made. */
function reflinkFolder(t: TestContext): string | undefined {
  const folder = tempFolder(t)
  const [image, mounted] = [join(folder, 'image'), join(folder, 'mounted')]
  mkdirSync(mounted)
  try {
    execFileSync('truncate', ['-s', `${128 * MiB}`, image], { stdio: 'ignore' })
    execFileSync('mkfs.btrfs', ['-q', image], { stdio: 'ignore' })
    execFileSync('mount', ['-o', 'loop', image, mounted], { stdio: 'ignore' })
  } catch (error) {
    t.skip(`no file system with reflinks can be made here: ${String(error)}`)
    return undefined
  }
  cleanup(t, () => {
    execFileSync('umount', [mounted])
  })
  return mounted
}

test('DiskStore.output() shares extents where the file system can', async (t) => {
  const folder = reflinkFolder(t)
  if (folder === undefined) return
  leaks(t)
  const store = await DiskStore.open({ dir: join(folder, 'store') })
  cleanup(t, () => store.close())
  const content = new Content(6 * MiB)
  const task = await store.create(record(), geometry(content.length))
  await keepAll(task, content)
  const path = join(folder, 'out')
  for (const overwrite of [false, true]) {
    const way = await task.output(path, { overwrite, writable: true, signal: never })
    assert.equal(way, 'reflink')
    await verifyFile(path, content)
  }
  assert.equal(statSync(path).mode & 0o777, 0o666 & ~process.umask())
  writeFileSync(path, 'changed')
  await verifyTask(store, task, content)
  assert.deepEqual(readdirSync(folder).sort(), ['out', 'store'])
})

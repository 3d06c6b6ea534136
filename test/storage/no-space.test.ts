import assert from 'node:assert/strict'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadXxhash } from '../../src/hash/xxhash.ts'
import { PeerError } from '../../src/errors.ts'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { Journal } from '../../src/storage/journal.ts'
import type { JournalRecord } from '../../src/storage/journal-record.ts'
import { SlabPool } from '../../src/storage/slabs.ts'
import { geometry } from '../../src/task/piece.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { leaks } from '../support/leaks.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { code, fill, keep, MiB, never, record, verifyTask } from './filling.ts'
import { tmpfs } from './tmpfs.ts'

test('DiskStore says NO_SPACE when the disk is full, and keeps what it has', async (t) => {
  const disk = tmpfs(t, 8 * MiB)
  if (disk === undefined) return
  leaks(t)
  const dir = join(disk, 'store')
  const slabs = new SlabPool({ count: 4, slabBytes: 256 * 1024 })
  const store = await DiskStore.open({ dir, slabs, highWater: 1 })
  cleanup(t, () => store.close())
  const large = store.create(record('large'), geometry(9 * MiB))
  await assert.rejects(large, (error) => {
    assert.ok(PeerError.is(error, 'NO_SPACE'))
    assert.equal(error.details.needed, 9 * MiB)
    assert.ok((error.details.available ?? 0) <= 8 * MiB)
    return true
  })

  const content = new Content(6 * MiB)
  const task = await store.create(record(), geometry(content.length, 2 * MiB))
  task.hold()
  // Room that others wait for is set aside, although the disk calls it free.
  const spool = await store.spool()
  await assert.rejects(spool.write(new Uint8Array(4 * MiB)), code('NO_SPACE'))
  await spool.discard()
  await keep(task, content, 1)
  const ballast = join(disk, 'ballast')
  assert.throws(() => writeFileSync(ballast, new Uint8Array(8 * MiB)), { code: 'ENOSPC' })

  const slot = await task.slot(0, never)
  await assert.rejects(fill(slot, content), code('NO_SPACE'))
  await assert.rejects(slot.drained(), code('NO_SPACE'))
  assert.equal(slot.space(), undefined)
  slot.release()
  const small = await task.slot(2, never)
  const filling = fill(small, content).then(() => small.finish())
  await assert.rejects(filling, code('NO_SPACE'))
  await assert.rejects(task.commit(small, { digest: '', parentId: '' }))
  assert.deepEqual([task.has(0), task.has(1), task.has(2)], [false, true, false])
  while (slabs.taken > 0) await new Promise<void>((resolve) => setImmediate(resolve))

  rmSync(ballast)
  for (const number of [0, 2]) await keep(task, content, number)
  await verifyTask(store, task, content)
})

test('DiskStore.output() to a full disk says NO_SPACE and leaves nothing there', async (t) => {
  const disk = tmpfs(t, 1 * MiB)
  if (disk === undefined) return
  leaks(t)
  const store = await DiskStore.open({ dir: join(tempFolder(t), 'store') })
  cleanup(t, () => store.close())
  const content = new Content(2 * MiB)
  const task = await store.create(record(), geometry(content.length))
  await keep(task, content, 0)
  const output = task.output(join(disk, 'out'), { overwrite: true, writable: false, signal: never })
  await assert.rejects(output, (error) => {
    assert.ok(PeerError.is(error, 'NO_SPACE'))
    assert.equal(error.details.path, join(disk, 'out'))
    assert.equal(error.details.needed, content.length)
    return true
  })
  assert.deepEqual(readdirSync(disk), [])
  await verifyTask(store, task, content)
})

test('Journal.append() that fails for want of space leaves a journal that is good', async (t) => {
  const disk = tmpfs(t, 256 * 1024)
  if (disk === undefined) return
  leaks(t)
  const path = join(disk, 'journal')
  const xxhash = await loadXxhash()
  const place = { path, xxhash, source: { snapshot: () => [], liveCount: () => 0 } }
  const journal = await Journal.open(place, () => false)
  const use = (usedAt: number): JournalRecord => ({ is: 'used', key: 1, usedAt })
  await journal.append(use(1), use(2))
  const ballast = join(disk, 'ballast')
  assert.throws(() => writeFileSync(ballast, new Uint8Array(256 * 1024)), { code: 'ENOSPC' })
  // Longer than the page that the journal has: a part of it is written before the rest fails. Were that part left there, a record of the same length
  // would cover the first line of it exactly, and the others would be good.
  const many = Array.from({ length: 2000 }, (_, at) => use(1000 + at))
  await assert.rejects(journal.append(...many), code('NO_SPACE'))
  rmSync(ballast)
  await journal.append(use(3000))
  await journal.close()
  const seen: JournalRecord[] = []
  const again = await Journal.open(place, (found) => seen.push(found) > 0)
  await again.close()
  assert.deepEqual(seen, [use(1), use(2), use(3000)])
})

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { geometry } from '../../src/task/piece.ts'
import { cleanup } from '../support/cleanup.ts'
import { code, keep, never, record } from './filling.ts'
import { content, cut, folder, opened, pieceLength } from './prepared.ts'

test('DiskStore.create() refuses a record that its journal cannot hold', async (t) => {
  const store = await opened(t, folder(t))
  const long = record('long', { headers: { x: 'y'.repeat(100_000) } })
  await assert.rejects(store.create(long, geometry(10)), RangeError)
  assert.deepEqual({ ...store.usage(), bytesMax: 0 }, { bytes: 0, bytesMax: 0, tasks: 0 })
  const task = await store.create(record('short'), geometry(10))
  await assert.rejects(task.update({ url: `http://${'y'.repeat(100_000)}` }), RangeError)
  assert.equal(task.record.url, undefined)
  // Not a number is no number in JSON: a line with it would end the journal.
  const wrong = record('wrong', { createdAt: Number.NaN })
  await assert.rejects(store.create(wrong, geometry(10)), TypeError)
  await assert.rejects(task.update({ ttlMs: Number.POSITIVE_INFINITY }), TypeError)
})

test('DiskStore takes room for what is wanted, and asks for more when more is filled', async (t) => {
  const dir = folder(t)
  const store = await DiskStore.open({ dir, bytesMax: 3 * pieceLength, highWater: 1 })
  cleanup(t, () => store.close())
  const task = await store.create(record(), cut, { bytesWanted: pieceLength })
  assert.equal(store.usage().bytes, pieceLength)
  const release = task.hold()
  for (const number of [0, 1, 2]) await keep(task, content, number)
  assert.equal(store.usage().bytes, 3 * pieceLength)
  await assert.rejects(task.slot(3, never), code('NO_SPACE'))
  release()
  await store.delete(task.record.id)
  const other = await store.create(record('other'), cut, { bytesWanted: 2 * pieceLength })
  const hold = other.hold()
  await keep(other, content, 0)
  assert.equal(store.usage().bytes, 2 * pieceLength)
  hold()
  assert.equal(store.usage().bytes, pieceLength)
})

test('DiskStore.close() leaves nothing of a spool that is open', async (t) => {
  const dir = folder(t)
  const store = await DiskStore.open({ dir })
  const spool = await store.spool()
  await spool.write(content.bytes())
  assert.equal(readdirSync(join(dir, 'content')).length, 1)
  const writing = spool.write(content.bytes())
  await Promise.allSettled([writing, store.close()])
  assert.deepEqual(readdirSync(join(dir, 'content')), [])
  await assert.rejects(spool.write(content.bytes()), code('CLOSED'))
  await assert.rejects(spool.finish(record()), code('CLOSED'))
  await spool.discard()
})

test('DiskStore.spool() is refused when there are too many', async (t) => {
  const dir = folder(t)
  const store = await opened(t, dir)
  const spools = await Promise.all(Array.from({ length: 64 }, () => store.spool()))
  await assert.rejects(store.spool(), code('LIMIT_REACHED'))
  await spools[0]?.discard()
  const more = await store.spool()
  await Promise.all([more, ...spools].map((spool) => spool.discard()))
})

test('DiskStore.create() refuses memory, which it cannot fill', async (t) => {
  const store = await opened(t, folder(t))
  const memory = new Uint8Array(content.length)
  await assert.rejects(store.create(record(), cut, { memory }), TypeError)
})

import assert from 'node:assert/strict'
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { loadXxhash } from '../../src/hash/xxhash.ts'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { Journal } from '../../src/storage/journal.ts'
import type { JournalRecord } from '../../src/storage/journal-record.ts'
import { geometry, pieceAt } from '../../src/task/piece.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { storeChild } from './child.ts'
import { code, keep, keepAll, never, readPiece, record, verifyTask } from './filling.ts'
import { ManualClock } from './manual-clock.ts'
import {
  content,
  contentPath,
  cut,
  folder,
  found,
  opened,
  pieceLength,
  prepared,
} from './prepared.ts'

test('DiskStore.open() serves again what was kept before', async (t) => {
  const dir = folder(t)
  const clock = new ManualClock()
  const first = await DiskStore.open({ dir, clock })
  const facts = { url: 'http://host/file?key=secret', headers: { etag: '"1"' }, ttlMs: 10 ** 9 }
  const whole = await first.create(record('whole', facts), cut)
  await keepAll(whole, content)
  const partial = await first.create(record('partial'), cut)
  for (const number of [1, 4]) await keep(partial, content, number, `parent ${number}`)
  await partial.update({ validator: '"2"' })
  const deleted = await first.create(record('deleted'), cut)
  await first.delete(deleted.record.id)
  const spool = await first.spool()
  await spool.write(content.bytes())
  const spooled = await spool.finish(record('spooled'), pieceLength)
  const createdAt = clock.date()
  clock.advance(3000)
  const reader = await first.open({ taskId: partial.record.id, kind: 'standard', number: 1 }, never)
  reader.close()
  await first.close()

  const store = await DiskStore.open({ dir, clock })
  cleanup(t, () => store.close())
  assert.equal(store.list().length, 3)
  assert.equal(store.get(deleted.record.id), undefined)
  const again = found(store, whole.record.id)
  assert.deepEqual(again.record, whole.record)
  assert.deepEqual(again.geometry, cut)
  await verifyTask(store, again, content)
  await verifyTask(store, found(store, spooled.record.id), content)
  const part = found(store, partial.record.id)
  assert.equal(part.record.validator, '"2"')
  assert.equal(part.keptCount, 2)
  assert.equal(part.usedAt, clock.date())
  assert.equal(store.usage().bytes, 2 * content.length + 2 * pieceLength)
  const piece = await store.open({ taskId: part.record.id, kind: 'standard', number: 4 }, never)
  assert.equal(piece.parentId, 'parent 4')
  assert.equal(piece.createdAt, createdAt)
  piece.close()
  await keepAll(part, content)
  await verifyTask(store, part, content)
})

test('DiskStore keeps what it writes from others', async (t) => {
  const dir = folder(t)
  const id = await prepared(dir)
  const mode = (path: string): number => statSync(path).mode & 0o777
  assert.equal(mode(dir), 0o700)
  for (const name of ['content', 'lock', join('content', id.slice(0, 3))]) {
    assert.equal(mode(join(dir, name)), 0o700, name)
  }
  assert.equal(mode(join(dir, 'journal')), 0o600)
  assert.equal(mode(contentPath(dir, id)), 0o600)
})

test('DiskStore.open() takes a journal that is cut anywhere, and never more than is true', async (t) => {
  const dir = folder(t)
  const id = await prepared(dir)
  const journal = readFileSync(join(dir, 'journal'))
  const header = journal.indexOf(10) + 1
  let keptBefore = 0
  for (let length = header; length <= journal.length; length += 61) {
    writeFileSync(join(dir, 'journal'), journal.subarray(0, length))
    const copy = readFileSync(contentPath(dir, id))
    const store = await DiskStore.open({ dir })
    const task = store.get(id)
    const kept = task?.keptCount ?? 0
    assert.ok(kept >= keptBefore)
    keptBefore = kept
    for (let number = 0; number < kept; number++) {
      assert.ok(task !== undefined)
      const bytes = await readPiece(store, task, number)
      assert.equal(content.difference(bytes, pieceAt(cut, number).offset), undefined)
    }
    // What is appended behind the cut is read again.
    const next = await store.create(record('next'), geometry(3))
    await keep(next, new Content(3), 0)
    await store.close()
    const again = await DiskStore.open({ dir })
    assert.equal(again.get(next.record.id)?.complete, true)
    await again.close()
    // Without its record the content was removed.
    mkdirSync(join(dir, 'content', id.slice(0, 3)), { recursive: true })
    writeFileSync(contentPath(dir, id), copy)
  }
  assert.ok(keptBefore >= cut.pieceCount - 1)
})

test('DiskStore.open() ends the journal at a record that was changed', async (t) => {
  const dir = folder(t)
  const id = await prepared(dir)
  const path = join(dir, 'journal')
  const lines = readFileSync(path, 'utf8').split('\n')
  const third = lines.findIndex((line) => line.includes('"number":2'))
  // Still JSON, still a crc.
  lines[third] = (lines[third] ?? '').replace(/"crc":./, '"crc":0')
  writeFileSync(path, lines.join('\n').replace('"crc":0', '"crc":1'))
  const store = await opened(t, dir)
  assert.equal(found(store, id).keptCount, 2)
  assert.equal(readFileSync(path, 'utf8').split('\n').length, third + 1)
})

test('DiskStore.open() refuses a folder of another version or of another make, and leaves it alone', async (t) => {
  const dir = folder(t)
  await prepared(dir)
  const path = join(dir, 'journal')
  const journal = readFileSync(path, 'utf8')
  writeFileSync(path, journal.replace('store 1', 'store 7'))
  await assert.rejects(DiskStore.open({ dir }), (error) => {
    assert.ok(PeerError.is(error, 'STORE_VERSION'))
    assert.deepEqual(error.details, { path, version: 7, supported: 1 })
    return true
  })
  const older = journal.replace('store 1', 'store 0')
  for (const text of ['', older, 'dear diary', 'x'.repeat(300_000), 'dragonfly-peer store 1']) {
    writeFileSync(path, text)
    await assert.rejects(DiskStore.open({ dir }), code('STORE_VERSION'))
    assert.equal(readFileSync(path, 'utf8'), text)
  }
  rmSync(path)
  const files = readdirSync(dir, { recursive: true })
  await assert.rejects(DiskStore.open({ dir }), code('STORE_FAILED'))
  assert.deepEqual(readdirSync(dir, { recursive: true }), files)
  writeFileSync(path, journal)
  await opened(t, dir)
})

test('DiskStore.open() removes what a dead process left behind', async (t) => {
  const dir = folder(t)
  const id = await prepared(dir)
  mkdirSync(join(dir, 'content', 'abc', 'folder'), { recursive: true })
  mkdirSync(join(dir, 'content', 'def'))
  writeFileSync(join(dir, 'content', '.new-1234'), 'spool')
  mkdirSync(join(dir, 'content', '.new-folder'))
  symlinkSync(join(dir, 'journal'), join(dir, 'content', 'abc', 'link'))
  writeFileSync(join(dir, 'journal.new'), 'half a compaction')
  writeFileSync(join(dir, 'content', 'abc', 'abcdef'), 'orphan')
  writeFileSync(join(dir, 'content', 'note'), 'not ours')
  await opened(t, dir)
  const left = readdirSync(join(dir, 'content'), { recursive: true }).map(String).sort()
  const kept = [id.slice(0, 3), join(id.slice(0, 3), id), 'abc', join('abc', 'folder'), 'note']
  assert.deepEqual(left, [...kept, '.new-folder'].sort())
  assert.deepEqual(readdirSync(dir).sort(), ['content', 'journal', 'lock'])
})

test('Journal.open() reads what is whole of a journal that ends at any byte, and appends behind it', async (t) => {
  const path = join(tempFolder(t), 'journal')
  const xxhash = await loadXxhash()
  const place = { path, xxhash, source: { snapshot: () => [], liveCount: () => 0 } }
  const use = (usedAt: number): JournalRecord => ({ is: 'used', key: 1, usedAt })
  const first = await Journal.open(place, () => true)
  // One write of several records.
  await Promise.all([use(1), use(22), use(333), use(4444)].map((one) => first.append(one)))
  await first.close()
  const whole = readFileSync(path)
  const header = whole.indexOf(10) + 1
  for (let length = header; length <= whole.length; length++) {
    for (const zeros of [false, true]) {
      const torn = zeros ? Buffer.alloc(whole.length) : Buffer.alloc(length)
      whole.copy(torn, 0, 0, length)
      writeFileSync(path, torn)
      const seen: JournalRecord[] = []
      const journal = await Journal.open(place, (one) => seen.push(one) > 0)
      const lines = whole.subarray(header, length).toString().split('\n').length - 1
      assert.equal(seen.length, lines, `cut at ${length}`)
      await journal.append(use(5))
      await journal.close()
      const again: JournalRecord[] = []
      await (await Journal.open(place, (one) => again.push(one) > 0)).close()
      assert.deepEqual(again, [...seen, use(5)])
    }
  }
})

test('DiskStore.open() removes a file that a dead process was making an output in, and nothing else', async (t) => {
  const dir = folder(t)
  const out = tempFolder(t)
  await prepared(dir)
  const notes = join(dir, 'outputs')
  mkdirSync(notes)
  const name = (digit: number): string => `.dragonfly-${String(digit).repeat(16)}`
  for (const digit of [1, 2, 3]) writeFileSync(join(out, name(digit)), 'half a model')
  writeFileSync(join(out, 'model'), 'mine')
  symlinkSync(join(out, name(1)), join(notes, name(1)))
  // Not what this library writes down: another name, no link, another name behind it.
  symlinkSync(join(out, name(2)), join(notes, name(4)))
  writeFileSync(join(notes, name(3)), join(out, name(3)))
  symlinkSync(join(out, 'model'), join(notes, name(5)))
  symlinkSync(join(out, 'gone', name(6)), join(notes, name(6)))
  const store = await opened(t, dir)
  assert.deepEqual(readdirSync(out).sort(), [name(2), name(3), 'model'])
  assert.deepEqual(readdirSync(notes), [name(3)])
  const task = found(store, record().id)
  const options = { overwrite: true, writable: true, signal: never }
  await task.output(join(out, 'model'), options)
  assert.deepEqual(readdirSync(notes), [name(3)])
})

test('DiskStore.open() removes what lies where an adopted file would be its own', async (t) => {
  const dir = folder(t)
  const path = join(tempFolder(t), 'model')
  writeFileSync(path, content.bytes())
  const first = await DiskStore.open({ dir })
  const task = await first.adopt(record(), path, pieceLength, never)
  await first.close()
  // As after a kill between the new file and its record.
  const own = contentPath(dir, task.record.id)
  mkdirSync(dirname(own), { recursive: true })
  writeFileSync(own, content.bytes())
  const store = await opened(t, dir)
  assert.deepEqual(readdirSync(join(dir, 'content')), [])
  await verifyTask(store, found(store, task.record.id), content)
})

test('DiskStore has only good pieces after its process was killed while it kept some', async (t) => {
  const dir = folder(t)
  const child = storeChild(t, 'fill', dir)
  while ((await child.next()) !== 'round 1');
  await child.kill()
  const store = await opened(t, dir)
  let kept = 0
  for (let round = 0; ; round++) {
    const task = store.get(record(`round ${round}`).id)
    if (task === undefined) break
    if (round < 2) assert.equal(task.complete, true)
    const wanted = new Content(5_000_000, round)
    for (let number = 0; number < task.geometry.pieceCount; number++) {
      if (!task.has(number)) continue
      kept++
      const bytes = await readPiece(store, task, number)
      assert.equal(wanted.difference(bytes, number * pieceLength), undefined)
    }
  }
  assert.ok(kept >= 100)
})

test('DiskStore keeps its journal short, and everything in it', async (t) => {
  const dir = folder(t)
  const clock = new ManualClock()
  const store = await DiskStore.open({ dir, clock })
  const task = await store.create(record('kept'), cut)
  await keepAll(task, content)
  clock.advance(50_000)
  await readPiece(store, task, 0)
  const usedAt = clock.date()
  clock.advance(10_000)
  const deleted = await store.create(record('deleted'), cut)
  await keepAll(deleted, content)
  await store.delete(deleted.record.id)
  const longest = 300 * 5000
  for (let round = 0; round < 5; round++) {
    await Promise.all(
      Array.from({ length: 1000 }, (_, at) => task.update({ validator: `${round} ${at}` })),
    )
  }
  await keep(await store.create(record('late'), cut), content, 0)
  assert.ok(statSync(join(dir, 'journal')).size < longest / 2)
  await store.close()
  const again = await DiskStore.open({ dir, clock })
  cleanup(t, () => again.close())
  assert.equal(again.list().length, 2)
  assert.equal(found(again, task.record.id).usedAt, usedAt)
  assert.equal(found(again, task.record.id).record.validator, '4 999')
  await verifyTask(again, found(again, task.record.id), content)
})

test('DiskStore keeps tasks of any id inside its folder', async (t) => {
  const parent = tempFolder(t)
  const dir = join(parent, 'store')
  const ids = ['../../escape', '', '.', '..', 'a', 'AbC', 'abc', 'a/b/c', 'x'.repeat(5000), 'ü\0\n']
  const store = await DiskStore.open({ dir })
  for (const [seed, id] of ids.entries()) {
    const task = await store.create({ ...record(), id }, geometry(100))
    await keepAll(task, new Content(100, seed))
  }
  await store.close()
  assert.deepEqual(readdirSync(parent), ['store'])
  assert.deepEqual(readdirSync(dir).sort(), ['content', 'journal', 'lock'])
  const again = await opened(t, dir)
  for (const [seed, id] of ids.entries()) {
    await verifyTask(again, found(again, id), new Content(100, seed))
    assert.equal(await again.delete(id), true)
  }
})

test('DiskStore.open() forgets tasks of which nothing was kept', async (t) => {
  const dir = folder(t)
  const first = await DiskStore.open({ dir })
  await first.create(record('nothing'), cut)
  const empty = await first.create(record('empty'), geometry(0))
  await first.close()
  const store = await opened(t, dir)
  assert.deepEqual(
    store.list().map((task) => task.record.id),
    [empty.record.id],
  )
  // The folder and the file of the empty task; those of the other one were removed.
  assert.equal(readdirSync(join(dir, 'content'), { recursive: true }).length, 2)
})

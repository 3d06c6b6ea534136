import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { waitFor } from '../peer/start-peer.ts'
import { cleanup } from '../support/cleanup.ts'
import { type FsCall, type FsVerdict, systemError, watchFs } from '../crash/watched-fs.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { code, keep, keepAll, never, readPiece, record, spoolAll, verifyTask } from './filling.ts'
import { content, contentPath, cut, flip, folder, opened, pieceLength } from './prepared.ts'

/** Every kind of work that a store does. What it reads is compared. */
async function work(root: string): Promise<void> {
  const store = await DiskStore.open({ dir: join(root, 'store') })
  try {
    const task = await store.create(record(), cut)
    const release = task.hold()
    try {
      await keepAll(task, content)
      for (const [name, overwrite] of [
        ['linked', false],
        ['replaced', true],
      ] as const) {
        await task.output(join(root, 'out', name), { overwrite, writable: false, signal: never })
      }
      await task.output(join(root, 'out', 'copied'), {
        overwrite: false,
        writable: true,
        signal: never,
      })
      await verifyTask(store, task, content)
      await task.update({ validator: '"1"' })
    } finally {
      release()
    }
    const spool = await store.spool()
    try {
      await spoolAll(spool, content)
      await spool.finish(record('spooled'), pieceLength)
    } finally {
      await spool.discard()
    }
    const adopted = await store.adopt(record('adopted'), join(root, 'in', 'file'), 70_000, never)
    await verifyTask(store, adopted, content)
    await store.delete(record().id)
  } finally {
    await store.close()
  }
}

/** What a disk may make of a call: nothing else may come out, and none of it is a fault of the program. */
const codes = ['NO_SPACE', 'STORE_FAILED', 'PERMISSION_DENIED', 'STORE_CORRUPT', 'FILE_CHANGED']

function roomFor(t: TestContext): () => string {
  const parent = tempFolder(t)
  let count = 0
  return () => {
    const root = join(parent, String(count++))
    for (const name of ['in', 'out']) mkdirSync(join(root, name), { recursive: true })
    writeFileSync(join(root, 'in', 'file'), content.bytes())
    return root
  }
}

for (const [errno, mode, reads] of [
  ['ENOSPC', 'once', false],
  ['ENOSPC', 'from then on', false],
  ['EIO', 'once', true],
  ['EROFS', 'from then on', false],
  ['EMFILE', 'once', true],
] as const) {
  test(`DiskStore bears ${errno} at every call, ${mode}: an error with its code, nothing wrong, nothing left`, async (t) => {
    const make = roomFor(t)
    const faulty = (call: FsCall): boolean =>
      errno === 'EMFILE' ? /^(open|readdir) /.test(call.name) : reads || call.changes
    let calls = Number.POSITIVE_INFINITY
    for (let at = 1; at <= calls; at++) {
      const root = make()
      let count = 0
      let name = ''
      const stop = watchFs(root, {
        before(call): FsVerdict {
          if (!faulty(call)) return undefined
          count++
          // A disk that is full still lets go of what it has.
          if (count < at || (mode === 'once' && count > at)) return undefined
          if (errno === 'ENOSPC' && /^(rm|rmdir|close|ftruncate) /.test(call.name)) return undefined
          name ||= call.name
          return systemError(errno)
        },
      })
      const failure = await work(root)
        .then(
          () => undefined,
          (error: unknown) => error,
        )
        .finally(stop)
      if (failure !== undefined && !PeerError.is(failure, ...(codes as []))) {
        throw new Error(`${errno} at ${name}`, { cause: failure })
      }
      if (name === '' && failure === undefined) calls = count
      await lookAfter(root, `${errno} at ${name}, call ${at}`)
    }
    assert.ok(calls > (errno === 'EMFILE' ? 10 : 60), `${calls} calls`)
  })
}

/** The disk is well again: the store opens, has nothing wrong and nothing that is nobody's, does all of its work, and is empty in the end. */
async function lookAfter(root: string, where: string): Promise<void> {
  const dir = join(root, 'store')
  for (const name of readdirSync(join(root, 'out'))) {
    assert.ok(!name.startsWith('.dragonfly-') || existsSync(join(dir, 'outputs', name)), where)
    if (name.startsWith('.dragonfly-')) continue
    assert.equal(content.difference(readFileSync(join(root, 'out', name)), 0), undefined, where)
  }
  const store = await DiskStore.open({ dir })
  try {
    for (const task of store.list()) {
      for (let number = 0; number < task.geometry.pieceCount; number++) {
        if (!task.has(number)) continue
        const bytes = await readPiece(store, task, number)
        const { pieceLength: length } = task.geometry
        assert.equal(content.difference(bytes, number * length), undefined, where)
      }
      await store.delete(task.record.id)
    }
    assert.equal(store.usage().bytes, 0, where)
    const task = await store.create(record('after'), cut)
    await keepAll(task, content)
    await verifyTask(store, task, content)
    await store.delete(task.record.id)
  } finally {
    await store.close()
  }
  const files = readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => entry.name)
  assert.deepEqual(files, ['journal'], where)
  assert.deepEqual(
    readdirSync(join(root, 'out')).filter((name) => name.startsWith('.')),
    [],
    where,
  )
}

/** A disk that fails on demand. From before the store is opened on, because a descriptor is known by its opening. */
class FaultyDisk {
  /** Calls of this name fail … */
  name = ''
  /** … so many times. */
  times = 0

  constructor(t: TestContext, dir: string) {
    const before = (call: FsCall): FsVerdict => {
      if (call.name !== this.name || this.times === 0) return undefined
      this.times--
      return systemError(call.changes ? 'ENOSPC' : 'EIO')
    }
    cleanup(t, watchFs(join(dir, '..'), { before }))
  }

  fail(name: string, times = Number.POSITIVE_INFINITY): void {
    this.name = name
    this.times = times
  }
}

test('DiskStore.delete() frees the room of a disk that is too full for its journal', async (t) => {
  const dir = folder(t)
  const disk = new FaultyDisk(t, dir)
  const store = await opened(t, dir)
  const task = await store.create(record(), cut)
  await keepAll(task, content)
  disk.fail('write journal', 1)
  assert.equal(await store.delete(task.record.id), true)
  assert.equal(disk.times, 0)
  assert.equal(existsSync(contentPath(dir, task.record.id)), false)
  assert.equal(store.usage().bytes, 0)
})

test('DiskStore.delete() that the journal never hears of is true after a restart all the same', async (t) => {
  const dir = folder(t)
  const disk = new FaultyDisk(t, dir)
  const store = await DiskStore.open({ dir })
  const task = await store.create(record(), cut)
  await keepAll(task, content)
  disk.fail('write journal')
  await assert.rejects(store.delete(task.record.id), code('NO_SPACE'))
  assert.equal(existsSync(contentPath(dir, task.record.id)), false)
  disk.fail('')
  await store.close()
  const again = await opened(t, dir)
  assert.deepEqual(again.list(), [])
})

test('Spool.finish() that the journal has no room for leaves no file', async (t) => {
  const dir = folder(t)
  const disk = new FaultyDisk(t, dir)
  const store = await opened(t, dir)
  const spool = await store.spool()
  await spoolAll(spool, content)
  disk.fail('write journal')
  await assert.rejects(spool.finish(record(), pieceLength), code('NO_SPACE'))
  disk.fail('')
  assert.equal(existsSync(contentPath(dir, record().id)), false)
  assert.equal(store.usage().bytes, 0)
})

test('DiskStore fetches a piece again that the disk cannot read any more, though it was good before', async (t) => {
  const dir = folder(t)
  const disk = new FaultyDisk(t, dir)
  const store = await opened(t, dir)
  const task = await store.create(record(), cut)
  await keepAll(task, content)
  disk.fail('read content')
  await assert.rejects(readPiece(store, task, 2), code('STORE_CORRUPT'))
  await assert.rejects(readPiece(store, task, 2), code('STORE_CORRUPT'))
  assert.equal(task.has(2), false)
  const output = task.output(join(dir, 'out'), { overwrite: true, writable: true, signal: never })
  await assert.rejects(output, code('STORE_CORRUPT'))
  disk.fail('')
  await keep(task, content, 2)
  await verifyTask(store, task, content)
})

test('DiskStore.output() finds what the disk cannot read any more, and looks again before it gives it up', async (t) => {
  const dir = folder(t)
  const disk = new FaultyDisk(t, dir)
  const store = await opened(t, dir)
  const task = await store.create(record(), cut)
  await keepAll(task, content)
  const options = { overwrite: true, writable: true, signal: never }
  const path = join(tempFolder(t), 'out')
  disk.fail('read content', 1)
  await assert.rejects(task.output(path, options), code('STORE_CORRUPT'))
  assert.equal(existsSync(path), false)
  await task.output(path, options)
  assert.equal(content.difference(readFileSync(path), 0), undefined)
})

test('DiskStore compacts its journal later when the disk has no room for a new one', async (t) => {
  const dir = folder(t)
  const disk = new FaultyDisk(t, dir)
  const store = await opened(t, dir)
  const task = await store.create(record(), cut)
  await keepAll(task, content)
  const journal = join(dir, 'journal')
  const churn = async (): Promise<void> => {
    await Promise.all(Array.from({ length: 4500 }, (_, at) => task.update({ validator: `${at}` })))
    await task.update({ validator: 'last' })
  }
  disk.fail('write journal.new')
  await churn()
  assert.deepEqual(readdirSync(dir).sort(), ['content', 'journal', 'lock'])
  const long = readFileSync(journal).length
  disk.fail('')
  await churn()
  assert.ok(readFileSync(journal).length < long / 10)
})

test('Spool.finish() never keeps what the disk gives back in place of what was written', async (t) => {
  const dir = folder(t)
  const store = await opened(t, dir)
  const spool = await store.spool()
  await spoolAll(spool, content)
  const name = readdirSync(join(dir, 'content')).find((file) => file.startsWith('.new-'))
  assert.ok(name !== undefined)
  // What is still in memory has not been written yet; the first 256 KiB are on their way.
  const path = join(dir, 'content', name)
  await waitFor(() => statSync(path).size >= 256 * 1024)
  flip(path, 1000)
  await assert.rejects(spool.finish(record(), pieceLength), code('STORE_FAILED'))
  assert.deepEqual([store.list(), readdirSync(join(dir, 'content'))], [[], []])
})

import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { geometry, pieceAt } from '../../src/task/piece.ts'
import { Content } from '../support/content.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyFile } from '../support/verify.ts'
import {
  code,
  digestOf,
  keep,
  keepAll,
  MiB,
  never,
  record,
  spoolAll,
  verifyTask,
} from '../storage/filling.ts'
import { type Open, threePieces } from './store-scene.ts'

/** What spools promise. */
export function spooling(name: string, open: Open): void {
  const cases: readonly (readonly [number, number | undefined])[] = [
    [0, undefined],
    [1, undefined],
    [4 * MiB, undefined],
    [9 * MiB + 17, undefined],
    [5 * MiB, 1_500_000],
  ]
  for (const [length, pieceLength] of cases) {
    test(`${name}.spool() takes ${length} bytes, in pieces of ${pieceLength ?? 'the rule'}`, async (t) => {
      const store = await open(t)
      const content = new Content(length, 11)
      const spool = await store.spool()
      await spoolAll(spool, content)
      assert.equal(spool.length, length)
      const task = await spool.finish(record(), pieceLength)
      await spool.discard()
      assert.equal(store.get(task.record.id), task)
      assert.deepEqual(task.geometry, geometry(length, pieceLength))
      assert.equal(task.complete, true)
      assert.equal(store.usage().bytes, length)
      for (let number = 0; number < task.geometry.pieceCount; number++) {
        assert.equal(task.digestOf(number), digestOf(content, pieceAt(task.geometry, number)))
      }
      await verifyTask(store, task, content)
      await assert.rejects(spool.write(new Uint8Array(1)), code('CLOSED'))
      await assert.rejects(spool.finish(record()), code('CLOSED'))
    })
  }

  test(`${name}.spool() keeps a complete task of that id, and replaces another`, async (t) => {
    const store = await open(t)
    const [task, content] = await threePieces(store)
    await keepAll(task, content)
    const spool = await store.spool()
    await spool.write(new Content(10).bytes())
    assert.equal(await spool.finish(task.record), task)
    const partial = await store.create(record('partial'), geometry(20, 10))
    await keep(partial, new Content(20), 0)
    let told: unknown = 'nothing'
    partial.onKept((number) => {
      told = number
    })
    const other = await store.spool()
    await other.write(new Content(10, 2).bytes())
    const whole = await other.finish(partial.record)
    assert.notEqual(whole, partial)
    assert.equal(told, undefined)
    await verifyTask(store, whole, new Content(10, 2))
    assert.equal(store.usage().bytes, content.length + 10)
  })

  test(`${name}.spool() leaves nothing when it is discarded or does not fit`, async (t) => {
    const store = await open(t, { bytesMax: 9 * MiB })
    const spool = await store.spool()
    await spool.write(new Uint8Array(5 * MiB))
    assert.ok(store.usage().bytes >= 5 * MiB)
    await spool.discard()
    await spool.discard()
    assert.equal(store.usage().bytes, 0)
    const large = await store.spool()
    await large.write(new Uint8Array(8 * MiB))
    await assert.rejects(large.write(new Uint8Array(4 * MiB)), code('NO_SPACE'))
    await large.discard()
    assert.equal(store.usage().bytes, 0)
    assert.deepEqual(store.list(), [])
  })
}

/** What outputs promise. */
export function putting(name: string, open: Open): void {
  test(`${name}.output() puts the content at a path`, async (t) => {
    const folder = tempFolder(t)
    const store = await open(t)
    const content = new Content(5 * MiB + 3, 21)
    const task = await store.create(record(), geometry(content.length))
    const options = { overwrite: false, writable: false, signal: never }
    await assert.rejects(task.output(join(folder, 'early'), options), RangeError)
    await keepAll(task, content)
    for (const writable of [false, true]) {
      const path = join(folder, `writable ${writable}`)
      await task.output(path, { ...options, writable })
      await verifyFile(path, content)
    }
    const writable = join(folder, 'writable true')
    writeFileSync(writable, 'changed')
    await verifyTask(store, task, content)
    assert.deepEqual(readdirSync(folder).sort(), ['writable false', 'writable true'])
  })

  test(`${name}.output() of an empty task is an empty file`, async (t) => {
    const folder = tempFolder(t)
    const store = await open(t)
    const task = await store.create(record(), geometry(0))
    const path = join(folder, 'empty')
    await task.output(path, { overwrite: false, writable: false, signal: never })
    assert.equal(readFileSync(path).length, 0)
  })

  for (const writable of [false, true]) {
    test(`${name}.output() replaces a file only when told to (writable: ${writable})`, async (t) => {
      const folder = tempFolder(t)
      const store = await open(t)
      const [task, content] = await threePieces(store)
      await keepAll(task, content)
      const path = join(folder, 'file')
      const options = { writable, signal: never }
      writeFileSync(path, 'mine')
      await assert.rejects(
        task.output(path, { ...options, overwrite: false }),
        code('OUTPUT_EXISTS'),
      )
      assert.equal(readFileSync(path, 'utf8'), 'mine')
      await task.output(path, { ...options, overwrite: true })
      await verifyFile(path, content)
      // The same inode may stand there already, in which case rename() does nothing.
      await task.output(path, { ...options, overwrite: true })
      await verifyFile(path, content)
      assert.deepEqual(readdirSync(folder), ['file'])
    })

    test(`${name}.output() lets one of many win (writable: ${writable})`, async (t) => {
      const folder = tempFolder(t)
      const store = await open(t)
      const [task, content] = await threePieces(store)
      await keepAll(task, content)
      const path = join(folder, 'file')
      const results = await Promise.allSettled(
        [1, 2, 3].map(() => task.output(path, { overwrite: false, writable, signal: never })),
      )
      assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
      for (const result of results) {
        if (result.status === 'rejected') assert.equal(result.reason.code, 'OUTPUT_EXISTS')
      }
      await verifyFile(path, content)
      assert.deepEqual(readdirSync(folder), ['file'])
    })

    test(`${name}.output() leaves nothing when it fails (writable: ${writable})`, async (t) => {
      const folder = tempFolder(t)
      const store = await open(t)
      const [task, content] = await threePieces(store)
      await keepAll(task, content)
      const options = { overwrite: true, writable, signal: never }
      const missing = join(folder, 'no', 'file')
      await assert.rejects(task.output(missing, options), code('FILE_NOT_FOUND'))
      mkdirSync(join(folder, 'folder'))
      await assert.rejects(task.output(join(folder, 'folder'), options), code('STORE_FAILED'))
      const reason = new Error('enough')
      const path = join(folder, 'file')
      await assert.rejects(
        task.output(path, { ...options, signal: AbortSignal.abort(reason) }),
        (error) => error === reason,
      )
      assert.deepEqual(readdirSync(folder), ['folder'])
    })
  }

  test(`${name}.output() can be aborted in the middle of a copy`, async (t) => {
    const folder = tempFolder(t)
    const store = await open(t)
    const content = new Content(24 * MiB)
    const task = await store.create(record(), geometry(content.length))
    await keepAll(task, content)
    const controller = new AbortController()
    const reason = new Error('enough')
    const output = assert.rejects(
      task.output(join(folder, 'file'), {
        overwrite: false,
        writable: true,
        signal: controller.signal,
      }),
      (error) => error === reason,
    )
    while (readdirSync(folder).length === 0) {
      await new Promise<void>((resolve) => setImmediate(resolve))
    }
    controller.abort(reason)
    await output
    assert.deepEqual(readdirSync(folder), [])
  })
}

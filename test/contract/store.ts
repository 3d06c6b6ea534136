import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type TestContext, test } from 'node:test'
import type { Store } from '../../src/storage/store.ts'
import { geometry } from '../../src/task/piece.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { leaks } from '../support/leaks.ts'
import {
  bytesOf,
  code,
  fill,
  keep,
  keepAll,
  never,
  record,
  verifyTask,
} from '../storage/filling.ts'
import { ManualClock } from '../storage/manual-clock.ts'
import { filling } from './store-filling.ts'
import { putting, spooling } from './store-output.ts'
import {
  type Open,
  request,
  small,
  type StoreMaker,
  type StoreWanted,
  threePieces,
} from './store-scene.ts'

/** What every store promises. `name` is that of the class. */
export function storeContract(name: string, make: StoreMaker): void {
  const open = async (t: TestContext, wanted: StoreWanted = {}): Promise<Store> => {
    leaks(t)
    const store = await make(t, wanted)
    cleanup(t, () => store.close())
    return store
  }
  creating(name, open)
  filling(name, open)
  opening(name, open)
  dropping(name, open)
  spooling(name, open)
  putting(name, open)
}

function creating(name: string, open: Open): void {
  test(`${name}.create() makes an empty task that get() and list() find`, async (t) => {
    const store = await open(t)
    assert.equal(store.get(record().id), undefined)
    const [task] = await threePieces(store)
    assert.equal(store.get(task.record.id), task)
    assert.deepEqual(store.list(), [task])
    assert.deepEqual(task.geometry, geometry(2 * small + 1000, small))
    assert.equal(task.keptCount, 0)
    assert.equal(task.complete, false)
    assert.equal(task.has(0), false)
    assert.equal(task.digestOf(0), undefined)
  })

  test(`${name}.create() gives back a task that is there, with the new record`, async (t) => {
    const store = await open(t)
    const cut = geometry(10)
    const first = await store.create(record('one', { url: 'http://a/', tag: 'x' }), cut)
    await keep(first, new Content(10), 0)
    const again = await store.create(record('one', { url: 'http://b/' }), cut)
    assert.equal(again, first)
    assert.equal(again.record.url, 'http://b/')
    assert.equal(again.record.tag, 'x')
    assert.equal(again.keptCount, 1)
    await assert.rejects(store.create(record('one'), geometry(11)), RangeError)
  })

  test(`${name}.create() makes one task when it is called twice at once`, async (t) => {
    const store = await open(t)
    const cut = geometry(100)
    const [one, two] = await Promise.all([store.create(record(), cut), store.create(record(), cut)])
    assert.equal(one, two)
    assert.equal(store.usage().tasks, 1)
  })

  test(`${name}.update() changes what is named and keeps the rest`, async (t) => {
    const store = await open(t)
    const task = await store.create(record('one', { tag: 'x', validator: '"1"' }), geometry(10))
    await task.update({ validator: '"2"', headers: { etag: '"2"' } })
    assert.deepEqual(
      [task.record.validator, task.record.tag, task.record.headers],
      ['"2"', 'x', { etag: '"2"' }],
    )
  })

  test(`${name}.create() refuses what does not fit and keeps what is held`, async (t) => {
    const store = await open(t, { bytesMax: 1000 })
    const held = await store.create(record('held'), geometry(600))
    const release = held.hold()
    await keep(held, new Content(600), 0)
    await assert.rejects(store.create(record('more'), geometry(500)), code('NO_SPACE'))
    assert.equal(store.get(held.record.id), held)
    assert.equal(store.usage().bytes, 600)
    release()
    release()
    const more = await store.create(record('more'), geometry(500))
    assert.deepEqual(store.list(), [more])
    assert.deepEqual(store.usage(), { bytes: 500, bytesMax: 1000, tasks: 1 })
  })

  test(`${name} refuses everything after close()`, async (t) => {
    const store = await open(t)
    const [task] = await threePieces(store)
    const slot = await task.slot(0, never)
    const waiting = [task.slot(0, never), store.open(request(task, 0), never)]
    const refused = waiting.map((call) => assert.rejects(call, code('CLOSED')))
    await Promise.all([store.close(), store.close()])
    await Promise.all(refused)
    slot.release()
    await assert.rejects(store.create(record('new'), geometry(1)), code('CLOSED'))
    await assert.rejects(async () => store.spool(), code('CLOSED'))
    await assert.rejects(store.delete(task.record.id), code('CLOSED'))
    await assert.rejects(store.open(request(task, 0), never), code('CLOSED'))
    await assert.rejects(task.slot(1, never), code('CLOSED'))
  })
}

function opening(name: string, open: Open): void {
  test(`${name}.open() knows where a piece came from and when`, async (t) => {
    const clock = new ManualClock()
    const store = await open(t, { clock })
    const [task, content] = await threePieces(store)
    clock.advance(5000)
    await keep(task, content, 2, 'parent-1')
    assert.equal(task.usedAt, clock.date())
    clock.advance(5000)
    const reader = await store.open(request(task, 2), never)
    assert.equal(reader.parentId, 'parent-1')
    assert.equal(reader.createdAt, clock.date() - 5000)
    assert.equal(task.usedAt, clock.date())
    assert.equal(content.difference(await bytesOf(reader), reader.piece.offset), undefined)
    reader.close()
    reader.close()
  })

  test(`${name}.open() says TASK_NOT_FOUND for what is not kept`, async (t) => {
    const store = await open(t)
    const [task, content] = await threePieces(store)
    await keep(task, content, 0)
    const { id: taskId } = task.record
    for (const other of [
      { taskId: 'other', kind: 'standard', number: 0 },
      { taskId, kind: 'persistent', number: 0 },
      { taskId, kind: 'standard', number: 1 },
      { taskId, kind: 'standard', number: 77 },
      { taskId, kind: 'standard', number: -1 },
    ] as const) {
      await assert.rejects(store.open(other, never), code('TASK_NOT_FOUND'))
    }
  })

  test(`${name}.open() waits for a piece that is being filled`, async (t) => {
    const store = await open(t)
    const [task, content] = await threePieces(store)
    const slot = await task.slot(1, never)
    let opened = false
    const reading = store.open(request(task, 1), never).then((reader) => {
      opened = true
      return reader
    })
    const controller = new AbortController()
    const reason = new Error('enough')
    const aborted = assert.rejects(
      store.open(request(task, 1), controller.signal),
      (error) => error === reason,
    )
    controller.abort(reason)
    await aborted
    await fill(slot, content)
    const digest = await slot.finish()
    assert.equal(opened, false)
    await task.commit(slot, { digest, parentId: '' })
    const reader = await reading
    assert.equal(content.difference(await bytesOf(reader), reader.piece.offset), undefined)
    reader.close()

    const given = await task.slot(2, never)
    const refused = assert.rejects(store.open(request(task, 2), never), code('TASK_NOT_FOUND'))
    given.release()
    await refused
  })

  test(`${name}.onKept() tells each listener until it leaves`, async (t) => {
    const store = await open(t)
    const [task, content] = await threePieces(store)
    const seen: string[] = []
    const leave = task.onKept((number) => seen.push(`a${number}`))
    task.onKept((number) => seen.push(`b${number}`))
    await keep(task, content, 1)
    leave()
    leave()
    await keep(task, content, 0)
    await store.delete(task.record.id)
    assert.deepEqual(seen, ['a1', 'b1', 'b0', 'bundefined'])
    task.onKept((number) => seen.push(`late${number}`))
    assert.equal(seen.at(-1), 'lateundefined')
  })
}

function dropping(name: string, open: Open): void {
  test(`${name}.delete() lets readers finish, and ends everything else`, async (t) => {
    const store = await open(t)
    const [task, content] = await threePieces(store)
    await keep(task, content, 0)
    const reader = await store.open(request(task, 0), never)
    const slot = await task.slot(1, never)
    await fill(slot, content)
    const waiting = assert.rejects(store.open(request(task, 1), never), code('TASK_NOT_FOUND'))
    assert.equal(await store.delete(task.record.id), true)
    assert.equal(await store.delete(task.record.id), false)
    assert.equal(store.get(task.record.id), undefined)
    assert.deepEqual({ ...store.usage(), bytesMax: 0 }, { bytes: 0, bytesMax: 0, tasks: 0 })
    const digest = await slot.finish()
    await assert.rejects(task.commit(slot, { digest, parentId: '' }), code('TASK_NOT_FOUND'))
    await waiting
    await assert.rejects(task.slot(2, never), code('TASK_NOT_FOUND'))
    await assert.rejects(store.open(request(task, 0), never), code('TASK_NOT_FOUND'))

    const [next] = await threePieces(store)
    assert.notEqual(next, task)
    assert.equal(next.keptCount, 0)
    const other = new Content(content.length, 42)
    await keepAll(next, other)
    assert.equal(content.difference(await bytesOf(reader), 0), undefined)
    reader.close()
    await verifyTask(store, next, other)
  })

  test(`${name} drops tasks whose time is over, and says so`, async (t) => {
    const clock = new ManualClock()
    const store = await open(t, { clock, ttlMs: 100_000 })
    const dropped: unknown[] = []
    const listen = (message: unknown): void => void dropped.push(message)
    subscribe('dragonfly-peer:store:dropped', listen)
    cleanup(t, () => void unsubscribe('dragonfly-peer:store:dropped', listen))
    const createdAt = clock.date()
    const short = await store.create(record('short', { createdAt, ttlMs: 30_000 }), geometry(10))
    await keep(short, new Content(10), 0)
    const usual = await store.create(record('usual', { createdAt }), geometry(20))
    const ever = await store.create(record('ever', { createdAt, persistent: true }), geometry(30))
    const gone = new Promise<void>((resolve) => {
      short.onKept(() => resolve())
    })
    clock.advance(61_000)
    await gone
    assert.deepEqual(dropped, [{ task: short.record.id, bytes: 10, why: 'ttl' }])
    const goneToo = new Promise<void>((resolve) => {
      usual.onKept(() => resolve())
    })
    // The timer is set again when the collection has ended, which nothing tells.
    while (store.get(usual.record.id) !== undefined) {
      clock.advance(61_000)
      await new Promise<void>((resolve) => setImmediate(resolve))
    }
    await goneToo
    assert.deepEqual(store.list(), [ever])
  })

  test(`${name} keeps a task whose kind is kept until it expires, unless the record says no`, async (t) => {
    const store = await open(t, { bytesMax: 1000 })
    const kept = record('kept', { kind: 'persistentCache' })
    await store.create(kept, geometry(600))
    await assert.rejects(store.create(record('more'), geometry(500)), code('NO_SPACE'))
    await store.create({ ...kept, persistent: false }, geometry(600))
    await store.create(record('more'), geometry(500))
    assert.equal(store.get(kept.id), undefined)
  })

  test(`${name} keeps a task that is read or filled, whatever is wanted`, async (t) => {
    const store = await open(t, { bytesMax: 1000 })
    const read = await store.create(record('read'), geometry(400))
    await keep(read, new Content(400), 0)
    const reader = await store.open(request(read, 0), never)
    const filled = await store.create(record('filled'), geometry(400))
    const slot = await filled.slot(0, never)
    await assert.rejects(store.create(record('more'), geometry(300)), code('NO_SPACE'))
    assert.equal(store.usage().tasks, 2)
    reader.close()
    await store.create(record('more'), geometry(300))
    assert.equal(store.get(read.record.id), undefined)
    slot.release()
  })
}

import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { test } from 'node:test'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { geometry } from '../../src/task/piece.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { keepAll, record } from './filling.ts'
import { folder } from './prepared.ts'

const content = new Content(10_000)
const cut = geometry(content.length, 10_000)

test('DiskStore never waits for itself when a task is made again that the running collection has chosen', async (t) => {
  const dir = folder(t)
  const count = 40
  const marks = { highWater: 0.2, lowWater: 0.1 }
  const store = await DiskStore.open({ dir, bytesMax: 2 * count * content.length, ...marks })
  cleanup(t, () => store.close())
  const holds: (() => void)[] = []
  for (let at = 0; at < count; at++) {
    const task = await store.create(record(`task ${at}`, { createdAt: at }), cut)
    holds.push(task.hold())
    await keepAll(task, content)
  }
  for (const release of holds) release()
  // One that is dropped in a later turn of the collection, and now wants room: the collection waits for it, and it for the next collection.
  const again = record('task 25')
  let made: Promise<unknown> | undefined
  const listen = (): void => {
    if (made !== undefined) return
    void store.delete(again.id)
    made = store.create(again, cut)
  }
  subscribe('dragonfly-peer:store:dropped', listen)
  cleanup(t, () => void unsubscribe('dragonfly-peer:store:dropped', listen))
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('It waits for itself')), 5000)
  })
  cleanup(t, () => clearTimeout(timer))
  await Promise.race([store.create(record('next'), cut), late])
  assert.ok(made !== undefined)
  await Promise.race([made, late])
})

test('DiskStore.usage() never counts more than there is after much came and went', async (t) => {
  const dir = folder(t)
  const store = await DiskStore.open({ dir, bytesMax: 3 * content.length, highWater: 0.7 })
  cleanup(t, () => store.close())
  for (let round = 0; round < 30; round++) {
    await keepAll(await store.create(record(`task ${round}`), cut), content)
    const { bytes, tasks } = store.usage()
    assert.equal(bytes, tasks * content.length)
  }
  for (const task of store.list()) await store.delete(task.record.id)
  assert.deepEqual(store.usage(), { bytes: 0, bytesMax: 3 * content.length, tasks: 0 })
})

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { MemoryStore } from '../../src/storage/memory-store.ts'
import { geometry } from '../../src/task/piece.ts'
import { cleanup } from '../support/cleanup.ts'
import { Content } from '../support/content.ts'
import { leaks } from '../support/leaks.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { code, keepAll, MiB, never, record, verifyTask } from './filling.ts'
import { join } from 'node:path'

const pieceLength = 100_000
const content = new Content(3 * pieceLength + 7)
const cut = geometry(content.length, pieceLength)

function opened(t: TestContext): MemoryStore {
  leaks(t)
  const store = new MemoryStore({ bytesMax: 64 * MiB })
  cleanup(t, () => store.close())
  return store
}

for (const weak of [true, false]) {
  for (const held of [true, false]) {
    test(`MemoryStore forgets a task whose memory the application transfers to a worker: ${weak ? 'weak' : 'strong'}${held ? ', while it is held' : ''}`, async (t) => {
      const store = opened(t)
      const task = await store.create(record(), cut, { weak })
      const told: unknown[] = []
      task.onKept((number) => void told.push(number))
      const release = held ? task.hold() : undefined
      await keepAll(task, content)
      const { memory } = task
      assert.ok(memory !== undefined)
      structuredClone(memory, { transfer: [memory.buffer as ArrayBuffer] })
      told.length = 0
      release?.()
      const { id } = record()
      assert.equal(store.get(id), undefined)
      assert.deepEqual(store.list(), [])
      const request = { taskId: id, kind: 'standard', number: 0 } as const
      const output = { overwrite: false, writable: true, signal: never }
      await assert.rejects(task.output(join(tempFolder(t), 'out'), output), code('TASK_NOT_FOUND'))
      await assert.rejects(store.open(request, never), code('TASK_NOT_FOUND'))
      assert.deepEqual(told, [undefined])
      assert.deepEqual(store.usage(), { bytes: 0, bytesMax: 64 * MiB, tasks: 0 })
      const again = await store.create(record(), cut, { weak: false })
      await keepAll(again, content)
      await verifyTask(store, again, content)
      assert.equal(store.usage().bytes, content.length)
    })
  }
}

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { openSync, closeSync, existsSync } from 'node:fs'
import { createServer } from 'node:net'
import test from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { cleanup, type Ending } from './cleanup.ts'
import { leaks } from './leaks.ts'
import { origin } from './origin.ts'
import { tempFolder } from './temp-folder.ts'

/** A test context of which the end can be called. */
class FakeEnding implements Ending {
  readonly hooks: (() => Promise<void> | void)[] = []

  after(fn: () => Promise<void> | void): void {
    this.hooks.push(fn)
  }

  async end(): Promise<void> {
    for (const hook of this.hooks) await hook()
  }
}

test('cleanup() releases last acquired first, all of them, and reports failures', async () => {
  const t = new FakeEnding()
  const order: number[] = []
  for (const number of [1, 2, 3]) {
    cleanup(t, () => {
      order.push(number)
      if (number > 1) throw new Error(`release ${number}`)
    })
  }
  assert.equal(t.hooks.length, 1)
  await assert.rejects(t.end(), (error: AggregateError) => error.errors.length === 2)
  assert.deepEqual(order, [3, 2, 1])
})

test('tempFolder() is removed at the end, with content', async () => {
  const t = new FakeEnding()
  const folder = tempFolder(t)
  closeSync(openSync(`${folder}/file`, 'w'))
  await t.end()
  assert.equal(existsSync(folder), false)
})

test('leaks() passes when everything is closed, also what was opened after it', async () => {
  const t = new FakeEnding()
  leaks(t)
  const served = await origin(t)
  const response = await fetch(served.url)
  await response.arrayBuffer()
  await t.end()
})

test('leaks() names a server that was left open', async (t) => {
  const ending = new FakeEnding()
  leaks(ending, 50)
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => void server.close())
  await once(server, 'listening')
  await assert.rejects(ending.end(), /Still open at the end of the test: .*TCPServerWrap/)
})

test('leaks() names a file that was left open', {
  skip: process.platform !== 'linux',
}, async (t) => {
  const ending = new FakeEnding()
  leaks(ending, 50)
  const path = fileURLToPath(import.meta.url)
  const descriptor = openSync(path, 'r')
  t.after(() => closeSync(descriptor))
  await assert.rejects(ending.end(), (error: Error) => error.message.includes(path))
})

test('leaks() sees a thread and an unrefed server', {
  skip: process.platform !== 'linux',
}, async (t) => {
  const ending = new FakeEnding()
  leaks(ending, 50)
  const worker = new Worker('setInterval(() => undefined, 60_000)', { eval: true })
  t.after(async () => void (await worker.terminate()))
  const server = createServer().listen(0, '127.0.0.1').unref()
  t.after(() => void server.close())
  await Promise.all([once(worker, 'online'), once(server, 'listening')])
  await assert.rejects(ending.end(), /anon_inode.*socket|socket.*anon_inode/)
})

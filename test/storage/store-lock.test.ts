import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { DiskStore } from '../../src/storage/disk-store.ts'
import { StoreLock } from '../../src/storage/store-lock.ts'
import { cleanup } from '../support/cleanup.ts'
import { leaks } from '../support/leaks.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { storeChild } from './child.ts'
import { code } from './filling.ts'

test('DiskStore.open() is refused while another process has the folder, and works when that was killed', async (t) => {
  const dir = join(tempFolder(t), 'store')
  const child = storeChild(t, 'hold', dir)
  assert.equal(await child.next(), 'open')
  await assert.rejects(DiskStore.open({ dir }), (error) => {
    assert.ok(PeerError.is(error, 'STORE_LOCKED'))
    assert.equal(error.details.pid, child.process.pid)
    return true
  })
  await child.kill()
  const store = await DiskStore.open({ dir })
  cleanup(t, () => store.close())
  assert.equal(readdirSync(join(dir, 'lock')).length, 1)
})

test('StoreLock keeps no process alive', async (t) => {
  const dir = join(tempFolder(t), 'store')
  const child = storeChild(t, 'open', dir)
  assert.equal(await child.next(), 'open')
  assert.equal(await child.left(), 0)
  const store = await DiskStore.open({ dir })
  await store.close()
})

test('StoreLock.take() lets one of many win that start at the same time', async (t) => {
  const dir = join(tempFolder(t), 'store')
  const children = [1, 2, 3, 4].map(() => storeChild(t, 'hold', dir))
  const said = await Promise.all(children.map((child) => child.next()))
  assert.deepEqual(said.toSorted(), [
    'error STORE_LOCKED',
    'error STORE_LOCKED',
    'error STORE_LOCKED',
    'open',
  ])
})

test('StoreLock.take() lets one win in the same process, and the next after release()', async (t) => {
  leaks(t)
  const folder = join(tempFolder(t), 'lock')
  for (let round = 0; round < 20; round++) {
    const results = await Promise.allSettled([1, 2, 3].map(() => StoreLock.take(folder)))
    const locks = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
    assert.equal(locks.length, 1)
    await assert.rejects(StoreLock.take(folder), code('STORE_LOCKED'))
    await locks[0]?.release()
    await locks[0]?.release()
  }
  assert.deepEqual(readdirSync(folder), [])
})

test('StoreLock.take() works in a folder whose path is too long for a socket', async (t) => {
  leaks(t)
  const folder = join(tempFolder(t), 'long'.repeat(40), 'lock')
  const lock = await StoreLock.take(folder)
  await assert.rejects(StoreLock.take(folder), code('STORE_LOCKED'))
  await lock.release()
  const again = await StoreLock.take(folder)
  await again.release()
})

test('StoreLock.take() gives way to a holder that is alive and does not answer', async (t) => {
  leaks(t)
  const folder = tempFolder(t)
  const silent = createServer(() => undefined)
  const sockets = new Set<{ destroy(): unknown }>()
  silent.on('connection', (socket) => sockets.add(socket))
  await new Promise<void>((resolve) => {
    silent.listen(join(folder, 'ffffffffffffffff-77.lock'), resolve)
  })
  cleanup(t, () => {
    for (const socket of sockets) socket.destroy()
    silent.close()
  })
  await assert.rejects(StoreLock.take(folder), (error) => {
    assert.ok(PeerError.is(error, 'STORE_LOCKED'))
    assert.equal(error.details.pid, 77)
    return true
  })
})

test('StoreLock.take() names a folder that it cannot make', async (t) => {
  const folder = tempFolder(t)
  writeFileSync(join(folder, 'file'), '')
  await assert.rejects(StoreLock.take(join(folder, 'file', 'lock')), code('FILE_NOT_FOUND'))
  mkdirSync(join(folder, 'lock'))
  writeFileSync(join(folder, 'lock', 'note'), 'not a socket')
  const lock = await StoreLock.take(join(folder, 'lock'))
  await lock.release()
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred } from '../../src/util/deferred.ts'
import { KeyedLock } from '../../src/util/keyed-lock.ts'

const never = new AbortController().signal

test('KeyedLock.run() lets one key in at a time, in the order of asking', async () => {
  const lock = new KeyedLock()
  const seen: string[] = []
  const gate = deferred<void>()
  const first = lock.run('a', never, async () => {
    seen.push('first in')
    await gate.promise
    seen.push('first out')
  })
  const second = lock.run('a', never, async () => {
    seen.push('second')
  })
  await lock.run('b', never, async () => {
    seen.push('other key')
  })
  gate.resolve()
  await Promise.all([first, second])
  assert.deepEqual(seen, ['first in', 'other key', 'first out', 'second'])
})

test('KeyedLock.run() gives up its place when aborted and does not let the next one in early', async () => {
  const lock = new KeyedLock()
  const gate = deferred<void>()
  let inside = 0
  const enter = async (): Promise<void> => {
    inside++
    assert.equal(inside, 1)
    await gate.promise
    inside--
  }
  const first = lock.run('a', never, enter)
  const controller = new AbortController()
  const second = lock.run('a', controller.signal, enter)
  const third = lock.run('a', never, enter)
  controller.abort(new Error('no longer'))
  await assert.rejects(second, /no longer/)
  gate.resolve()
  await Promise.all([first, third])
  assert.equal(lock.size, 0)
})

test('KeyedLock.run() passes a failure on and lets the next one in', async () => {
  const lock = new KeyedLock()
  await assert.rejects(
    lock.run('a', never, async () => {
      throw new Error('broken')
    }),
    /broken/,
  )
  assert.equal(await lock.run('a', never, async () => 7), 7)
})

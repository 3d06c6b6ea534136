import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred } from '../../src/util/deferred.ts'
import { SharedWork } from '../../src/util/shared-work.ts'

const never = new AbortController().signal

test('SharedWork.run() does the work once for all who ask at the same time', async () => {
  const shared = new SharedWork<number>()
  const gate = deferred<number>()
  let begun = 0
  const work = (): Promise<number> => {
    begun++
    return gate.promise
  }
  const all = [1, 2, 3].map(() => shared.run('a', never, work))
  gate.resolve(5)
  assert.deepEqual(await Promise.all(all), [5, 5, 5])
  assert.equal(begun, 1)
  assert.equal(await shared.run('a', never, async () => 6), 6, 'done work is not kept')
})

test('SharedWork.run() goes on while anyone waits and stops when the last one leaves', async () => {
  const shared = new SharedWork<number>()
  let stopped = false
  const work = (signal: AbortSignal): Promise<number> =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        stopped = true
        reject(signal.reason)
      })
    })
  const [first, second] = [new AbortController(), new AbortController()]
  const one = shared.run('a', first.signal, work)
  const other = shared.run('a', second.signal, work)
  first.abort(new Error('first left'))
  await assert.rejects(one, /first left/)
  assert.equal(stopped, false)
  second.abort(new Error('second left'))
  await assert.rejects(other, /second left/)
  assert.equal(stopped, true)
})

test('SharedWork.run() gives a failure to everybody', async () => {
  const shared = new SharedWork<number>()
  const work = async (): Promise<number> => {
    throw new Error('broken')
  }
  const all = await Promise.allSettled([shared.run('a', never, work), shared.run('a', never, work)])
  assert.deepEqual(
    all.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
})

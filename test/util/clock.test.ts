import assert from 'node:assert/strict'
import test from 'node:test'
import { systemClock } from '../../src/util/clock.ts'
import { deferred } from '../../src/util/deferred.ts'

test('systemClock.now() does not go back, and date() is the wall clock', () => {
  const before = systemClock.now()
  assert.ok(systemClock.now() >= before)
  assert.ok(Math.abs(systemClock.date() - Date.now()) < 1000)
})

test('systemClock.after() calls once, unless it is taken back', async () => {
  const called: string[] = []
  const done = deferred<void>()
  const cancel = systemClock.after(1, () => called.push('taken back'))
  cancel()
  cancel()
  systemClock.after(2, () => {
    called.push('called')
    done.resolve()
  })
  // The timer does not keep the process alive, so something else must.
  const alive = setInterval(() => undefined, 1000)
  await done.promise
  clearInterval(alive)
  assert.deepEqual(called, ['called'])
})

test('systemClock.after() holds a delay that is longer than a timer of the machine can be', async (t) => {
  const warnings: string[] = []
  const note = (warning: Error): void => {
    warnings.push(warning.name)
  }
  process.on('warning', note)
  t.after(() => process.off('warning', note))
  let called = false
  const cancel = systemClock.after(30 * 86_400_000, () => {
    called = true
  })
  // A timer of the machine with that delay fires after 1 ms: wait until a later one has fired.
  const done = deferred<void>()
  setTimeout(done.resolve, 20)
  await done.promise
  cancel()
  assert.equal(called, false)
  assert.deepEqual(warnings, [])
})

test('deferred() is settled from outside, once', async () => {
  const { promise, resolve, reject } = deferred<number>()
  resolve(1)
  resolve(2)
  reject(new Error('late'))
  assert.equal(await promise, 1)
  const other = deferred<number>()
  other.reject(new Error('own'))
  await assert.rejects(other.promise, /own/)
})

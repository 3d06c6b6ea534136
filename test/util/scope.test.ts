import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import test from 'node:test'
import { abortable, Scope } from '../../src/util/scope.ts'
import { VirtualClock } from '../sim/clock.ts'

function listeners(signal: AbortSignal): number {
  return getEventListeners(signal, 'abort').length
}

test('Scope fires with the reason of the parent that fires first', () => {
  const one = new AbortController()
  const other = new AbortController()
  using scope = new Scope([one.signal, undefined, other.signal])
  assert.equal(scope.signal.aborted, false)
  other.abort('other')
  one.abort('one')
  assert.equal(scope.signal.reason, 'other')
})

test('Scope has fired already when a parent has', () => {
  const clock = new VirtualClock()
  const live = new AbortController()
  const limit = { timeoutMs: 5, onTimeout: () => 'late', clock }
  using scope = new Scope([live.signal, AbortSignal.abort('gone')], limit)
  assert.equal(scope.signal.reason, 'gone')
  assert.equal(listeners(live.signal), 0)
  assert.equal(clock.pending, 0)
})

test('Scope fires with its own reason when the time is over', async () => {
  const clock = new VirtualClock()
  using scope = new Scope([], { timeoutMs: 100, onTimeout: () => 'late', clock })
  await clock.pass(99)
  assert.equal(scope.signal.aborted, false)
  await clock.pass(1)
  assert.equal(scope.signal.reason, 'late')
})

test('Scope lets go of parents and timer when it is disposed, and does not fire after that', async () => {
  const clock = new VirtualClock()
  const parent = new AbortController()
  const limit = { timeoutMs: 100, onTimeout: () => 'late', clock }
  const scope = new Scope([parent.signal], limit)
  assert.equal(listeners(parent.signal), 1)
  assert.equal(clock.pending, 1)
  scope[Symbol.dispose]()
  assert.equal(listeners(parent.signal), 0)
  assert.equal(clock.pending, 0)
  parent.abort('late')
  await clock.pass(200)
  assert.equal(scope.signal.aborted, false)
})

test('Scope lets go of everything when it fires, and keeps its first reason', () => {
  const clock = new VirtualClock()
  const parent = new AbortController()
  const limit = { timeoutMs: 100, onTimeout: () => 'late', clock }
  using scope = new Scope([parent.signal], limit)
  scope.abort('first')
  scope.abort('second')
  assert.equal(scope.signal.reason, 'first')
  assert.equal(listeners(parent.signal), 0)
  assert.equal(clock.pending, 0)
})

test('Scope leaves nothing on a long-lived parent, however many there were', () => {
  const lifetime = new AbortController()
  for (let count = 0; count < 10_000; count++) {
    using scope = new Scope([lifetime.signal])
    assert.equal(scope.signal.aborted, false)
  }
  assert.equal(listeners(lifetime.signal), 0)
})

test('abortable() gives what the promise gives, and leaves nothing on the signal', async () => {
  const { signal } = new AbortController()
  assert.equal(await abortable(Promise.resolve(7), signal), 7)
  await assert.rejects(abortable(Promise.reject(new Error('own')), signal), /own/)
  assert.equal(listeners(signal), 0)
})

test('abortable() rejects with the reason of the signal, unchanged', async () => {
  const controller = new AbortController()
  const reason = { any: 'thing' }
  const waiting = abortable(new Promise(() => undefined), controller.signal)
  controller.abort(reason)
  await assert.rejects(waiting, (error) => error === reason)
  assert.equal(listeners(controller.signal), 0)
})

for (const when of ['before', 'while'] as const) {
  test(`abortable() ignores a late failure when the signal fired ${when} it waited`, async (t) => {
    const unhandled: unknown[] = []
    const note = (error: unknown): void => {
      unhandled.push(error)
    }
    process.on('unhandledRejection', note)
    t.after(() => process.off('unhandledRejection', note))
    const controller = new AbortController()
    let fail = (_: unknown): void => undefined
    const promise = new Promise<void>((_, reject) => {
      fail = reject
    })
    if (when === 'before') controller.abort('gone')
    const waiting = abortable(promise, controller.signal)
    if (when === 'while') controller.abort('gone')
    await assert.rejects(waiting, (error) => error === 'gone')
    fail(new Error('late'))
    // Unhandled rejections are reported after the microtasks of a turn.
    await new Promise<void>((resolve) => setImmediate(resolve))
    await new Promise<void>((resolve) => setImmediate(resolve))
    assert.deepEqual(unhandled, [])
  })
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import {
  type Failure,
  Retries,
  backoffMsMax,
  parseRetryAfter,
  progressBytesMin,
  retryAfterMsMax,
} from '../../src/source/retries.ts'
import { VirtualClock } from './virtual-clock.ts'

const signal = new AbortController().signal
const error = new PeerError('ORIGIN_NOT_FOUND', 'No such object', { url: '' })
const passing: Failure = { error, transient: true }

test('Retries.again() waits longer each time, up to a bound, half of it at random', async () => {
  for (const [random, share] of [
    [0, 0.5],
    [0.999_999, 1],
  ] as const) {
    const clock = new VirtualClock()
    const retries = new Retries({ retriesMax: 10, clock, random: () => random }, signal)
    for (let turn = 0; turn < 10; turn++) await retries.again(passing)
    const expected = [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000]
    for (const [at, delay] of clock.delays.entries()) {
      assert.ok(Math.abs(delay - (expected[at] ?? 0) * share) < 1, `${delay}`)
      assert.ok(delay <= backoffMsMax)
    }
    await assert.rejects(retries.again(passing), (thrown) => thrown === error)
  }
})

test('Retries.again() throws at once what no attempt can better', async () => {
  const clock = new VirtualClock()
  const retries = new Retries({ retriesMax: 10, clock, random: Math.random }, signal)
  await assert.rejects(retries.again({ error, transient: false }), (thrown) => thrown === error)
  assert.deepEqual(clock.delays, [])
})

test('Retries.progressed() lets the count begin anew, but only for so much', async () => {
  const retries = new Retries(
    { retriesMax: 1, clock: new VirtualClock(), random: Math.random },
    signal,
  )
  await retries.again(passing)
  retries.progressed(progressBytesMin - 1)
  retries.progressed(1)
  await retries.again(passing)
  retries.progressed(progressBytesMin - 1)
  await assert.rejects(retries.again(passing), (thrown) => thrown === error)
})

test('Retries.again() heeds the pause that is asked for, within a bound, and never shortens its own', async () => {
  const clock = new VirtualClock()
  const retries = new Retries({ retriesMax: 3, clock, random: () => 0 }, signal)
  for (const retryAfterMs of [5000, 10 * retryAfterMsMax, 1])
    await retries.again({ ...passing, retryAfterMs })
  assert.deepEqual(clock.delays, [5000, retryAfterMsMax, 400])
})

test('Retries.again() ends its pause with the reason of the signal, and takes its timer back', async () => {
  const controller = new AbortController()
  let timers = 0
  const clock = {
    now: () => 0,
    date: () => 0,
    after: () => {
      timers++
      return () => timers--
    },
  }
  const retries = new Retries({ retriesMax: 1, clock, random: Math.random }, controller.signal)
  const pausing = retries.again(passing)
  const reason = new Error('enough')
  assert.equal(timers, 1)
  controller.abort(reason)
  await assert.rejects(pausing, (thrown) => thrown === reason)
  assert.equal(timers, 0)
})

test('parseRetryAfter() reads seconds and dates', () => {
  const clock = new VirtualClock()
  assert.equal(parseRetryAfter('120', clock), 120_000)
  assert.equal(parseRetryAfter('0', clock), 0)
  assert.equal(parseRetryAfter('Thu, 01 Jan 2026 00:00:09 GMT', clock), 9000)
  assert.equal(parseRetryAfter('Thu, 01 Jan 1970 00:00:09 GMT', clock), 0)
  for (const value of [undefined, '', 'soon', '-'])
    assert.equal(parseRetryAfter(value, clock), undefined)
})

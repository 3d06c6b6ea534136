import assert from 'node:assert/strict'
import test from 'node:test'
import type { ErrorCode } from '../../src/errors.ts'
import { type Blame, blameFor, pauseMs, Standing, strikesMax } from '../../src/task/blame.ts'

const blames: Readonly<Record<Blame, readonly ErrorCode[]>> = {
  ban: ['DIGEST_MISMATCH', 'PARENT_PROTOCOL', 'ORIGIN_CHANGED', 'ORIGIN_NOT_FOUND', 'ORIGIN_TLS'],
  strike: ['PARENT_UNREACHABLE', 'PARENT_TIMEOUT', 'ORIGIN_UNAVAILABLE', 'ORIGIN_UNREACHABLE'],
  refuse: ['PARENT_REFUSED', 'TASK_NOT_FOUND'],
  local: ['NO_SPACE', 'STORE_FAILED', 'CLOSED', 'STORE_CORRUPT'],
}
for (const [blame, codes] of Object.entries(blames)) {
  for (const code of codes) {
    test(`blameFor() ${code} is ${blame}`, () => assert.equal(blameFor(code), blame))
  }
}

test('Standing pauses longer with each failure in a row, and drops at the last', () => {
  const standing = new Standing()
  let now = 0
  for (let strike = 0; strike < strikesMax - 1; strike++) {
    standing.onFailure('PARENT_UNREACHABLE', now, now)
    const untilMs = now + pauseMs * 2 ** strike
    assert.deepEqual(standing.state, { is: 'paused', untilMs })
    assert.equal(standing.thaw(untilMs - 1), false)
    assert.equal(standing.thaw(untilMs), true)
    assert.deepEqual(standing.state, { is: 'live' })
    now = untilMs
  }
  standing.onFailure('PARENT_TIMEOUT', now, now)
  assert.deepEqual(standing.state, { is: 'dropped', code: 'PARENT_TIMEOUT' })
  assert.equal(standing.hopeful, false)
  assert.equal(standing.failures, strikesMax)
})

test('Standing.onSuccess() begins the row anew', () => {
  const standing = new Standing()
  for (let now = 0; now < 20_000; now += 2000) {
    standing.onFailure('PARENT_UNREACHABLE', now, now)
    assert.equal(standing.thaw(now + 1999), true)
    standing.onSuccess()
  }
  assert.deepEqual(standing.state, { is: 'live' })
})

test('Standing.onFailure() takes what fails together for one failure', () => {
  const standing = new Standing()
  for (let at = 0; at < 10; at++) standing.onFailure('PARENT_TIMEOUT', 0, 1500 + at)
  assert.deepEqual(standing.state, { is: 'paused', untilMs: 1509 + pauseMs })
  assert.equal(standing.thaw(1509 + pauseMs), true)
  // One that began before the pause and ends after it pauses again, as the same failure.
  standing.onFailure('PARENT_TIMEOUT', 10, 5000)
  assert.deepEqual(standing.state, { is: 'paused', untilMs: 5000 + pauseMs })
})

test('Standing.onFailure() bans for good', () => {
  const standing = new Standing()
  assert.equal(standing.onFailure('DIGEST_MISMATCH', 0, 0), 'ban')
  standing.onFailure('PARENT_UNREACHABLE', 1, 1)
  standing.onSuccess()
  assert.equal(standing.thaw(1e9), false)
  assert.equal(standing.revive(), false)
  assert.deepEqual(standing.state, { is: 'banned', code: 'DIGEST_MISMATCH' })
})

test('Standing.onFailure() with a refusal or a failure of our own changes nothing', () => {
  const standing = new Standing()
  standing.onFailure('PARENT_REFUSED', 0, 0)
  standing.onFailure('NO_SPACE', 0, 0)
  assert.deepEqual(standing.state, { is: 'live' })
  assert.equal(standing.lastCode, 'NO_SPACE')
})

test('Standing.revive() gives one more chance', () => {
  const standing = new Standing()
  assert.equal(standing.revive(), false)
  for (let now = 0; now < strikesMax; now++) standing.onFailure('PARENT_UNREACHABLE', now, now)
  assert.equal(standing.revive(), true)
  assert.deepEqual(standing.state, { is: 'live' })
  standing.onFailure('PARENT_UNREACHABLE', 10, 10)
  assert.deepEqual(standing.state, { is: 'dropped', code: 'PARENT_UNREACHABLE' })
})

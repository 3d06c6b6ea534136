import assert from 'node:assert/strict'
import test from 'node:test'
import type { ErrorCode } from '../../src/errors.ts'
import {
  type Blame,
  blameFor,
  type Failure,
  pauseMs,
  Standing,
  strikesMax,
} from '../../src/task/blame.ts'

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

function fail(
  standing: Standing,
  code: ErrorCode,
  now: number,
  more: Partial<Failure> = {},
): Blame {
  return standing.onFailure({ code, startedAt: now, ...more }, now)
}

test('Standing pauses longer with each failure in a row, and drops at the last', () => {
  const standing = new Standing()
  let now = 0
  for (let strike = 0; strike < strikesMax - 1; strike++) {
    fail(standing, 'PARENT_UNREACHABLE', now)
    const untilMs = now + pauseMs * 2 ** strike
    assert.deepEqual(standing.state, { is: 'paused', untilMs, hopeful: true })
    assert.equal(standing.thaw(untilMs - 1), false)
    assert.equal(standing.thaw(untilMs), true)
    assert.deepEqual(standing.state, { is: 'live' })
    now = untilMs
  }
  fail(standing, 'PARENT_TIMEOUT', now, { silence: 'silent' })
  assert.deepEqual(standing.state, { is: 'dropped', code: 'PARENT_TIMEOUT' })
  assert.equal(standing.usable, false)
  assert.equal(standing.failures, strikesMax)
})

test('Standing drops the dead at once, and gives them another chance when they are named again', () => {
  const standing = new Standing()
  assert.equal(fail(standing, 'PARENT_TIMEOUT', 0, { silence: 'dead' }), 'strike')
  assert.deepEqual(standing.state, { is: 'dropped', code: 'PARENT_TIMEOUT' })
  assert.equal(standing.revive(), true)
  assert.deepEqual(standing.state, { is: 'live' })
})

test('Standing pauses longer and longer for slowness, and never drops for it', () => {
  const standing = new Standing()
  const pauses: number[] = []
  for (let now = 0; now < 200_000; now += 20_000) {
    fail(standing, 'PARENT_TIMEOUT', now, { silence: 'slow' })
    assert.ok(standing.state.is === 'paused' && standing.state.hopeful)
    pauses.push(standing.state.untilMs - now)
    standing.thaw(now + 19_999)
  }
  assert.deepEqual(pauses.slice(0, 7), [500, 1000, 2000, 4000, 8000, 16_000, 16_000])
  standing.onSuccess()
  fail(standing, 'PARENT_TIMEOUT', 300_000, { silence: 'slow' })
  assert.deepEqual(standing.state, { is: 'paused', untilMs: 300_000 + pauseMs, hopeful: true })
})

test('Standing has no hope in who was silent for the longest time', () => {
  const standing = new Standing()
  fail(standing, 'PARENT_TIMEOUT', 60_000, { startedAt: 0, silence: 'silent' })
  assert.deepEqual(standing.state, { is: 'paused', untilMs: 60_000 + pauseMs, hopeful: false })
})

test('Standing.onSuccess() begins the row anew', () => {
  const standing = new Standing()
  for (let now = 0; now < 20_000; now += 2000) {
    fail(standing, 'PARENT_UNREACHABLE', now)
    assert.equal(standing.thaw(now + 1999), true)
    standing.onSuccess()
  }
  assert.deepEqual(standing.state, { is: 'live' })
})

for (const silence of ['slow', 'silent', undefined] as const) {
  test(`Standing.onFailure() takes what fails together for one failure (${silence})`, () => {
    const standing = new Standing()
    const more = { startedAt: 0, ...(silence === undefined ? {} : { silence }) }
    const hopeful = silence !== 'silent'
    for (let at = 0; at < 10; at++) fail(standing, 'PARENT_TIMEOUT', 1500 + at, more)
    assert.deepEqual(standing.state, { is: 'paused', untilMs: 1509 + pauseMs, hopeful })
    assert.equal(standing.thaw(1509 + pauseMs), true)
    // One that began before the pause and ends after it pauses again, as the same failure.
    fail(standing, 'PARENT_TIMEOUT', 5000, { ...more, startedAt: 10 })
    assert.deepEqual(standing.state, { is: 'paused', untilMs: 5000 + pauseMs, hopeful })
  })
}

test('Standing.onFailure() bans for good', () => {
  const standing = new Standing()
  assert.equal(fail(standing, 'DIGEST_MISMATCH', 0), 'ban')
  fail(standing, 'PARENT_UNREACHABLE', 1)
  standing.onSuccess()
  assert.equal(standing.thaw(1e9), false)
  assert.equal(standing.revive(), false)
  assert.deepEqual(standing.state, { is: 'banned', code: 'DIGEST_MISMATCH' })
})

test('Standing.onFailure() with a refusal or a failure of our own changes nothing', () => {
  const standing = new Standing()
  fail(standing, 'PARENT_REFUSED', 0)
  fail(standing, 'NO_SPACE', 0)
  assert.deepEqual(standing.state, { is: 'live' })
  assert.equal(standing.lastCode, 'NO_SPACE')
})

test('Standing.revive() gives one more chance', () => {
  const standing = new Standing()
  assert.equal(standing.revive(), false)
  for (let now = 0; now < strikesMax; now++) fail(standing, 'PARENT_UNREACHABLE', now)
  assert.equal(standing.revive(), true)
  assert.deepEqual(standing.state, { is: 'live' })
  fail(standing, 'PARENT_UNREACHABLE', 10)
  assert.deepEqual(standing.state, { is: 'dropped', code: 'PARENT_UNREACHABLE' })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Code, ConnectError } from '@connectrpc/connect'
import { Calls, localImportsMax, toolStandingMs } from '../../../src/peer/local/calls.ts'
import { deferred } from '../../../src/util/deferred.ts'
import type { Clock } from '../../../src/util/clock.ts'

/** A clock whose delays end when the test says so. */
function clock(): Clock & { readonly delays: Map<() => void, number> } {
  const delays = new Map<() => void, number>()
  return {
    delays,
    now: () => 0,
    date: () => 0,
    after: (delayMs, call) => {
      delays.set(call, delayMs)
      return () => delays.delete(call)
    },
  }
}

function world(ready: Promise<void> = Promise.resolve()) {
  const closing = new AbortController()
  const lifetime = new AbortController()
  const time = clock()
  const signals = { lifetime: lifetime.signal, closing: closing.signal }
  return { closing, lifetime, time, calls: new Calls({ ready, signals, clock: time }) }
}

const never = new AbortController().signal

test('Calls.enter() bounds each kind by itself', async () => {
  const { calls } = world()
  const open = []
  for (let at = 0; at < localImportsMax; at++) open.push(await calls.enter('import', never))
  await assert.rejects(
    calls.enter('import', never),
    (error) => ConnectError.from(error).code === Code.ResourceExhausted,
  )
  open.push(await calls.enter('download', never))
  assert.deepEqual(calls.counts, { download: 1, import: localImportsMax, question: 0 })
  for (const call of open) call[Symbol.dispose]()
  await calls.ended()
  assert.deepEqual(calls.counts, { download: 0, import: 0, question: 0 })
})

test('Calls.enter() waits for the peer, and not longer than the tool', async () => {
  const ready = deferred<void>()
  const { calls } = world(ready.promise)
  const outer = new AbortController()
  const given = calls.enter('question', outer.signal)
  outer.abort(new Error('gone'))
  await assert.rejects(given, /gone/)
  await calls.ended()
  const call = calls.enter('question', never)
  ready.resolve()
  assert.equal((await call).signal.aborted, false)
})

test('Call.signal fires with the tool, with the peer, with the time, and at the end', async () => {
  const { calls, lifetime, time } = world()
  const outer = new AbortController()
  const one = await calls.enter('download', outer.signal)
  outer.abort(new Error('gone'))
  assert.match(String(one.signal.reason), /gone/)
  const two = await calls.enter('download', never, 1234)
  const [[fire, delayMs] = []] = [...time.delays]
  assert.equal(delayMs, 1234)
  fire?.()
  assert.equal(ConnectError.from(two.signal.reason).code, Code.DeadlineExceeded)
  const three = await calls.enter('download', never)
  three[Symbol.dispose]()
  assert.ok(three.signal.aborted)
  const four = await calls.enter('download', never)
  lifetime.abort(new Error('over'))
  assert.match(String(four.signal.reason), /over/)
})

test('Calls.enter() takes nothing once the peer closes', async () => {
  const { calls, closing } = world()
  closing.abort()
  await assert.rejects(
    calls.enter('question', never),
    (error) => ConnectError.from(error).code === Code.Unavailable,
  )
})

test('Calls.idle() waits for calls, but not for tools that stand still while the peer closes', async () => {
  const { calls, closing, time } = world()
  const call = await calls.enter('download', never)
  const asked = call.handed()
  let idle = false
  const waiting = calls.idle().then(() => {
    idle = true
  })
  assert.equal(time.delays.size, 0)
  closing.abort()
  asked()
  assert.equal(time.delays.size, 0)
  const [, second] = [asked, call.handed()]
  const [[fire, delayMs] = []] = [...time.delays]
  assert.equal(delayMs, toolStandingMs)
  await Promise.resolve()
  assert.equal(idle, false)
  fire?.()
  await waiting
  second()
  assert.equal(calls.counts.download, 1)
  call[Symbol.dispose]()
  await calls.ended()
})

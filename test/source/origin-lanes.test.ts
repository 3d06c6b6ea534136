import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { HttpFault } from '../../src/source/http-fault.ts'
import { OriginLanes, originsMax } from '../../src/source/origin-lanes.ts'

const never = new AbortController().signal

test('OriginLanes.enter() lets so many go to one origin, the others in the order in which they came', async () => {
  const lanes = new OriginLanes(2)
  const gone: number[] = []
  const leaves: (() => void)[] = []
  for (let at = 0; at < 5; at++) {
    void lanes.enter('a', never).then((leave) => {
      gone.push(at)
      leaves.push(leave)
    })
  }
  await lanes.enter('b', never)
  await setImmediate()
  assert.deepEqual(gone, [0, 1])
  for (const expected of [
    [0, 1, 2],
    [0, 1, 2, 3],
    [0, 1, 2, 3, 4],
  ]) {
    leaves.shift()?.()
    await setImmediate()
    assert.deepEqual(gone, expected)
  }
})

test('OriginLanes.enter() forgets who has left the line, and passes on a turn that came too late', async () => {
  const lanes = new OriginLanes(1)
  const leave = await lanes.enter('a', never)
  const controller = new AbortController()
  const reason = new Error('enough')
  const aborted = [1, 2].map(() => lanes.enter('a', controller.signal))
  const patient = lanes.enter('a', never)
  controller.abort(reason)
  // Within the same turn, so that the first of them is still in the line.
  leave()
  for (const one of aborted) await assert.rejects(one, (error) => error === reason)
  const last = await patient
  last()
  ;(await lanes.enter('a', never))()
})

test('OriginLanes counts an origin as long as anything holds it', async () => {
  const lanes = new OriginLanes(1)
  const holds = Array.from({ length: originsMax - 1 }, (_, at) => lanes.hold(`origin ${at}`))
  const leave = await lanes.enter('last', never)
  const tooMany = (error: unknown): boolean =>
    error instanceof HttpFault && error.code === 'ORIGINS_MAX'
  await assert.rejects(lanes.enter('another', never), tooMany)
  assert.throws(() => lanes.hold('another'), tooMany)
  const second = lanes.hold('origin 5')
  holds[5]?.()
  await assert.rejects(lanes.enter('another', never), tooMany)
  second()
  ;(await lanes.enter('another', never))()
  leave()
  ;(await lanes.enter('yet another', never))()
})

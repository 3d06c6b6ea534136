import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ByteBudget } from '../../../src/peer/local/byte-budget.ts'

const never = new AbortController().signal

/** Whether it has resolved by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  return Promise.race([
    promise.then(() => true),
    new Promise<boolean>((r) => setImmediate(r, false)),
  ])
}

test('ByteBudget.take() gives what fits, and the rest in the order of asking', async () => {
  const budget = new ByteBudget(10)
  const six = await budget.take(6, never)
  const large = budget.take(6, never)
  const small = budget.take(1, never)
  assert.equal(await isSettled(large), false)
  assert.equal(await isSettled(small), false)
  six[Symbol.dispose]()
  six[Symbol.dispose]()
  assert.equal(await isSettled(large), true)
  assert.equal(await isSettled(small), true)
  assert.equal(budget.taken, 7)
})

test('ByteBudget.take() gives more than there is to one who is alone', async () => {
  const budget = new ByteBudget(10)
  const whole = await budget.take(64, never)
  const next = budget.take(1, never)
  assert.equal(await isSettled(next), false)
  whole[Symbol.dispose]()
  assert.equal(await isSettled(next), true)
  assert.equal(budget.taken, 1)
})

test('ByteBudget.take() is given up by its signal, and those behind move up', async () => {
  const budget = new ByteBudget(10)
  await budget.take(6, never)
  const control = new AbortController()
  const large = budget.take(9, control.signal)
  const small = budget.take(4, never)
  control.abort(new Error('enough'))
  await assert.rejects(large, /enough/)
  assert.equal(await isSettled(small), true)
  assert.equal(budget.taken, 10)
  await assert.rejects(budget.take(1, control.signal), /enough/)
})

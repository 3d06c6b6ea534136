import assert from 'node:assert/strict'
import test from 'node:test'
import { describe, flag, oneOf, refuseUnknown, text, wholeNumber } from '../../src/util/settings.ts'

test('refuseUnknown() names the key that nobody knows', () => {
  refuseUnknown('options', { one: 1, two: undefined }, ['one', 'two', 'three'])
  assert.throws(() => refuseUnknown('options', { onee: 1 }, ['one']), {
    name: 'TypeError',
    message: 'Unknown option options.onee',
  })
})

for (const value of [null, undefined, 7, 'text', [], [1]]) {
  test(`refuseUnknown() refuses ${describe(value)} in the place of an object`, () => {
    assert.throws(() => refuseUnknown('options', value as never, []), TypeError)
  })
}

const numbers: readonly (readonly [value: unknown, error: string | undefined])[] = [
  [2, undefined],
  [5, undefined],
  [9, undefined],
  [1, 'RangeError'],
  [10, 'RangeError'],
  [2.5, 'RangeError'],
  [Number.NaN, 'RangeError'],
  [Number.POSITIVE_INFINITY, 'RangeError'],
  ['5', 'TypeError'],
  [5n, 'TypeError'],
  [undefined, 'TypeError'],
  [null, 'TypeError'],
]
for (const [value, name] of numbers) {
  test(`wholeNumber() from 2 to 9 and ${String(value)} (${typeof value}): ${name ?? 'taken'}`, () => {
    const check = (): number => wholeNumber('options.count', value, 2, 9)
    if (name === undefined) assert.equal(check(), value)
    else assert.throws(check, { name, message: /options\.count/ })
  })
}

test('text() takes 1 to its greatest number of characters', () => {
  assert.equal(text('name', 'a'), 'a')
  assert.equal(text('name', 'abc', 3), 'abc')
  assert.throws(() => text('name', '', 3), RangeError)
  assert.throws(() => text('name', 'abcd', 3), RangeError)
  assert.throws(() => text('name', 3), TypeError)
})

test('text(), oneOf() and flag() do not repeat what they refuse: it may be a secret', () => {
  const secret = 'hunter2'
  for (const refuse of [
    () => text('token', `${secret}${secret}`, 3),
    () => oneOf('mode', secret, ['allow', 'never']),
    () => flag('on', secret),
    () => wholeNumber('count', secret, 0, 1),
  ]) {
    assert.throws(refuse, (error) => error instanceof Error && !error.message.includes(secret))
  }
})

test('oneOf() takes the choices and nothing else', () => {
  assert.equal(oneOf('mode', 'never', ['allow', 'never']), 'never')
  assert.throws(
    () => oneOf('mode', 'Never', ['allow', 'never']),
    /mode must be one of allow, never/,
  )
  assert.throws(() => oneOf('mode', undefined, ['allow']), TypeError)
})

test('flag() takes true and false and nothing that is like them', () => {
  assert.equal(flag('on', true), true)
  assert.equal(flag('on', false), false)
  for (const value of [0, 1, 'true', null, undefined]) {
    assert.throws(() => flag('on', value), TypeError)
  }
})

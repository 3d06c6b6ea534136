import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInThisContext } from 'node:vm'
import { frozenCopy } from '../../src/util/frozen-copy.ts'

setFlagsFromString('--allow-natives-syntax')
const haveSameMap = runInThisContext('(one, other) => %HaveSameMap(one, other)') as (
  one: object,
  other: object,
) => boolean

test('frozenCopy() copies and freezes', () => {
  const value = { id: 'a', list: [1] }
  const copy = frozenCopy(value)
  assert.deepEqual(copy, value)
  assert.notEqual(copy, value)
  assert.equal(copy.list, value.list)
  assert.ok(Object.isFrozen(copy))
  assert.ok(!Object.isFrozen(value))
})

test('frozenCopy() gives copies of like objects one hidden class', () => {
  const copies = Array.from({ length: 100 }, (_, at) => frozenCopy({ id: `${at}`, at, url: 'x' }))
  const [first, ...others] = copies.slice(50)
  assert.ok(first !== undefined)
  assert.deepEqual(
    others.filter((other) => !haveSameMap(first, other)),
    [],
  )
})

test('frozenCopy() copies a property that is called like the prototype, and keeps the prototype', () => {
  const value = JSON.parse('{"id":"a","__proto__":{"digest":"evil"}}') as {
    readonly id: string
    readonly digest?: string
  }
  const copy = frozenCopy(value)
  assert.equal(Object.getPrototypeOf(copy), Object.prototype)
  assert.equal(copy.digest, undefined)
  assert.deepEqual(Object.keys(copy), ['id', '__proto__'])
  assert.ok(Object.isFrozen(copy))
})

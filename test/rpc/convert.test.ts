import assert from 'node:assert/strict'
import test from 'node:test'

import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { DurationSchema, TimestampSchema } from '@bufbuild/protobuf/wkt'
import fc from 'fast-check'

import {
  i32,
  millisOf,
  present,
  shortText,
  textOf,
  u32,
  u64,
  wholeOf,
  wireTime,
} from '../../src/rpc/convert.ts'

test('wholeOf() takes what a number can hold, and nothing else', () => {
  const cases: readonly [bigint | number | undefined, number | undefined][] = [
    [undefined, undefined],
    [0n, 0],
    [7, 7],
    [4_194_304n, 4_194_304],
    [2n ** 53n - 1n, 2 ** 53 - 1],
    [2n ** 53n, undefined],
    [2n ** 64n - 1n, undefined],
    [-1n, undefined],
    [1.5, undefined],
    [Number.NaN, undefined],
  ]
  for (const [value, expected] of cases) assert.equal(wholeOf(value), expected, String(value))
})

test('u64() and wholeOf() give back every length', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (length) => {
      assert.equal(wholeOf(u64(length)), length)
    }),
  )
})

test('u64(), u32() and i32() give what the field can hold, whatever they get', () => {
  fc.assert(
    fc.property(fc.double(), (value) => {
      assert.ok(u64(value) >= 0n && u64(value) < 2n ** 64n)
      assert.ok(Number.isInteger(u32(value)) && u32(value) >= 0 && u32(value) <= 0xffff_ffff)
      assert.ok(Number.isInteger(i32(value)) && Math.abs(i32(value)) <= 0x8000_0000)
    }),
  )
  assert.equal(u64(2 ** 64), 2n ** 64n - 1n)
  assert.equal(u64(Number.NaN), 0n)
  assert.equal(i32(-0x9000_0000), -0x8000_0000)
})

test('wireTime() is a valid Timestamp and Duration for every number', () => {
  fc.assert(
    fc.property(fc.double(), (ms) => {
      const time = wireTime(ms)
      for (const schema of [TimestampSchema, DurationSchema]) {
        const read = fromBinary(schema, toBinary(schema, create(schema, time)))
        assert.equal(read.seconds, time.seconds)
        assert.equal(read.nanos, time.nanos)
      }
    }),
  )
})

test('wireTime() and millisOf() give back whole milliseconds', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 253_402_300_799_000 }), (ms) => {
      assert.equal(millisOf(create(TimestampSchema, wireTime(ms))), ms)
    }),
  )
})

test('millisOf() knows no time that makes no sense', () => {
  const cases = [
    { seconds: -1n, nanos: 0 },
    { seconds: 1n, nanos: -5 },
    { seconds: 1n, nanos: 2_000_000_000 },
    { seconds: 2n ** 62n, nanos: 0 },
    { seconds: 300_000_000_000n, nanos: 0 },
  ]
  for (const time of cases) assert.equal(millisOf(create(TimestampSchema, time)), undefined)
  assert.equal(millisOf(undefined), undefined)
})

test('textOf() never cuts', () => {
  assert.equal(textOf('abc', 3), 'abc')
  assert.equal(textOf('abcd', 3), undefined)
  assert.equal(textOf('', 3), undefined)
  assert.equal(textOf(undefined, 3), undefined)
  assert.equal(shortText('abcd', 3), 'ab…')
  assert.equal(shortText('abc', 3), 'abc')
})

test('present() leaves out what is undefined', () => {
  assert.deepEqual(present({ a: 1, b: undefined, c: '' }), { a: 1, c: '' })
})

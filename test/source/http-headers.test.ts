import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  codingOf,
  contentLengthOf,
  contentRangeOf,
  fieldOf,
  foreignFields,
  requestFields,
  unsatisfiedTotalOf,
} from '../../src/source/http-headers.ts'

test('contentRangeOf() reads what makes sense', () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(), fc.nat(), (first, more, rest) => {
      const last = first + more
      const total = last + 1 + rest
      assert.deepEqual(contentRangeOf({ 'content-range': `bytes ${first}-${last}/${total}` }), {
        first,
        last,
        total,
      })
      assert.deepEqual(contentRangeOf({ 'content-range': `Bytes ${first}-${last}/*` }), {
        first,
        last,
      })
    }),
  )
})

for (const field of [
  'bytes 1-0/5',
  'bytes 0-5/5',
  'bytes 0-0/0',
  'bytes */5',
  'bytes 0-1',
  'items 0-1/5',
  'bytes -1/5',
  'bytes 0-1/9007199254740993',
  'bytes 0x0-1/5',
  '',
]) {
  test(`contentRangeOf() refuses "${field}"`, () => {
    assert.equal(contentRangeOf({ 'content-range': field }), undefined)
  })
}

test('contentRangeOf() never fails and never gives a range outside of its total', () => {
  fc.assert(
    fc.property(fc.string(), (field) => {
      const range = contentRangeOf({ 'content-range': field })
      assert.ok(range === undefined || range.first <= range.last)
    }),
  )
})

test('contentLengthOf() counts whole safe numbers, and none beside a transfer coding', () => {
  assert.equal(contentLengthOf({ 'content-length': '12' }), 12)
  for (const value of ['-1', '1.5', '0x10', '9007199254740993', '', ' 1', ['1', '2']]) {
    assert.equal(contentLengthOf({ 'content-length': value }), undefined)
  }
  assert.equal(
    contentLengthOf({ 'content-length': '12', 'transfer-encoding': 'chunked' }),
    undefined,
  )
})

test('unsatisfiedTotalOf() reads the total of a 416', () => {
  assert.equal(unsatisfiedTotalOf({ 'content-range': 'bytes */12' }), 12)
  assert.equal(unsatisfiedTotalOf({ 'content-range': 'bytes 0-1/12' }), undefined)
  assert.equal(unsatisfiedTotalOf({}), undefined)
})

test('fieldOf() takes repeated fields only when they agree', () => {
  assert.equal(fieldOf({ a: ['x', 'x'] }, 'a'), 'x')
  assert.equal(fieldOf({ a: ['x', 'y'] }, 'a'), undefined)
  assert.equal(fieldOf({}, 'a'), undefined)
})

test('codingOf() knows no coding from a coding', () => {
  for (const none of [undefined, '', 'identity', ' Identity ']) {
    assert.equal(codingOf(none === undefined ? {} : { 'content-encoding': none }), undefined)
  }
  assert.equal(codingOf({ 'content-encoding': 'gzip' }), 'gzip')
  assert.equal(codingOf({ 'content-encoding': ['identity', 'br'] }), 'identity, br')
})

test('requestFields() drops what belongs to the engine or the connection', () => {
  const given = {
    Range: 'x',
    'IF-Match': 'x',
    Host: 'x',
    Connection: 'x',
    'Content-Length': '5',
    'X-Kept': 'y',
  }
  assert.deepEqual(requestFields(new URL('http://host/'), given, 'us'), {
    'user-agent': 'us',
    'x-kept': 'y',
    'accept-encoding': 'identity',
  })
})

test('requestFields() takes user info as it stands when it is not encoded well', () => {
  const { authorization } = requestFields(new URL('http://a%zz@host/'), {}, 'us')
  assert.equal(authorization, `Basic ${btoa('a%zz:')}`)
})

test('foreignFields() keeps nothing that could be a credential, whatever its name', () => {
  const names = fc.dictionary(fc.stringMatching(/^[a-z-]{1,20}$/), fc.constant('secret'))
  fc.assert(
    fc.property(names, (given) => {
      const kept = Object.keys(foreignFields(given)).toSorted()
      const allowed = ['accept', 'accept-language', 'user-agent'].filter((name) => name in given)
      assert.deepEqual(kept, [...allowed, 'accept-encoding'].toSorted())
    }),
  )
})

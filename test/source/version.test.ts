import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type Version,
  difference,
  isStrong,
  provenSame,
  validatorOf,
  versionOf,
} from '../../src/source/version.ts'

const validators: [version: Version, validator: string | undefined][] = [
  [{ etag: '"a"', lastModified: 'then', length: 5 }, 'etag:"a"'],
  [{ etag: 'W/"a"', lastModified: 'then', length: 5 }, 'last-modified:then;length=5'],
  [
    { lastModified: 'Thu, 01 Jan 2026 00:00:00 GMT' },
    'last-modified:Thu, 01 Jan 2026 00:00:00 GMT',
  ],
  [{ etag: 'W/"a"' }, 'etag:W/"a"'],
  [{ etag: 'unquoted' }, 'etag:unquoted'],
  [{ length: 5 }, undefined],
  [{}, undefined],
]
for (const [version, validator] of validators) {
  test(`validatorOf() of ${JSON.stringify(version)} is ${validator}`, () => {
    assert.equal(validatorOf(version), validator)
  })
}

const field = fc.stringMatching(/^[\x21-\x7e]([\x20-\x7e]{0,30}[\x21-\x7e])?$/)
const anyVersion: fc.Arbitrary<Version> = fc.record(
  {
    etag: field,
    lastModified: field.filter((text) => !/;length=\d+$/.test(text)),
    length: fc.maxSafeNat(),
  },
  { requiredKeys: [] },
)

test('versionOf() reads every validator back', () => {
  fc.assert(
    fc.property(anyVersion, (version) => {
      const validator = validatorOf(version)
      if (validator === undefined) return
      const back = versionOf(validator)
      assert.ok(back !== undefined)
      assert.equal(validatorOf(back), validator)
      assert.equal(difference(back, version), undefined)
    }),
  )
})

test('versionOf() does not know validators of another make', () => {
  for (const validator of ['', 'file:1-2-3-4', 'last-modified', 'Etag:"a"']) {
    assert.equal(versionOf(validator), undefined)
  }
})

const pairs: [what: string, Version, Version, ReturnType<typeof difference>][] = [
  ['equal tags', { etag: '"a"' }, { etag: '"a"' }, undefined],
  [
    'other tags',
    { etag: '"a"' },
    { etag: '"b"' },
    { what: 'etag', expected: '"a"', actual: '"b"' },
  ],
  ['a weakened tag', { etag: '"a"' }, { etag: 'W/"a"' }, undefined],
  [
    'other weak tags',
    { etag: 'W/"a"' },
    { etag: 'W/"b"' },
    { what: 'etag', expected: 'W/"a"', actual: 'W/"b"' },
  ],
  ['a tag that is missing', { etag: '"a"' }, {}, undefined],
  [
    'equal strong tags and other dates',
    { etag: '"a"', lastModified: 'x' },
    { etag: '"a"', lastModified: 'y' },
    undefined,
  ],
  [
    'equal weak tags and other dates',
    { etag: 'W/"a"', lastModified: 'x' },
    { etag: 'W/"a"', lastModified: 'y' },
    { what: 'last-modified', expected: 'x', actual: 'y' },
  ],
  [
    'equal strong tags and other lengths',
    { etag: '"a"', length: 1 },
    { etag: '"a"', length: 2 },
    { what: 'length', expected: '1', actual: '2' },
  ],
  [
    'equal dates and other lengths',
    { lastModified: 'x', length: 1 },
    { lastModified: 'x', length: 2 },
    { what: 'length', expected: '1', actual: '2' },
  ],
  ['a length that is missing', { lastModified: 'x', length: 1 }, { lastModified: 'x' }, undefined],
]
for (const [what, expected, actual, found] of pairs) {
  test(`difference() of ${what}`, () => assert.deepEqual(difference(expected, actual), found))
}

test('provenSame() holds for equal strong tags only', () => {
  assert.ok(provenSame({ etag: '"a"' }, { etag: '"a"' }))
  for (const etag of ['W/"a"', 'a', '']) assert.ok(!provenSame({ etag }, { etag }), etag)
  assert.ok(!provenSame({ lastModified: 'x', length: 1 }, { lastModified: 'x', length: 1 }))
})

test('isStrong() takes well-formed strong tags only', () => {
  for (const etag of ['""', '"a"', '"ä"', '"a/b-c"']) assert.ok(isStrong(etag), etag)
  for (const etag of ['a', '"a', 'W/"a"', '"a"b"', '"a b"', '"a\nb"'])
    assert.ok(!isStrong(etag), etag)
})

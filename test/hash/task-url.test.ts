import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PeerError } from '../../src/errors.ts'
import {
  blobSha256,
  defaultFilteredQueryParams,
  normalizeTaskUrl,
  sharedQueryParams,
} from '../../src/hash/task-url.ts'
import { normalizedUrls } from '../vectors/task-ids.ts'

describe('normalizeTaskUrl()', () => {
  const more: readonly (readonly [string, readonly string[], string])[] = [
    ['https://example.com?a=1', ['A'], 'https://example.com/?a=1'],
    ['https://example.com/a?%78=1&k=v', ['x'], 'https://example.com/a?k=v'],
    ['https://example.com/a?x=1&x=2&k=v&x', ['x'], 'https://example.com/a?k=v'],
    ['https://example.com/a/', [], 'https://example.com/a/'],
    ['https://example.com//', [], 'https://example.com//'],
    ['https://example.com/#/', [], 'https://example.com/#'],
    ['https://user:pw@example.com/a', [], 'https://user:pw@example.com/a'],
    ['HTTPS://example.com:8443', [], 'https://example.com:8443'],
    ['https://example.com/a?k=%zz&bad=%ff', [], 'https://example.com/a?k=%25zz&bad=%EF%BF%BD'],
    // Carets as the real client has them, whatever the parser of this Node does.
    ['https://example.com/a^b', [], 'https://example.com/a^b'],
    ['https://example.com/a^b/%5E/c^?k=^#^', [], 'https://example.com/a^b/%5E/c^?k=%5E#^'],
    ['https://x^:p^@example.com/x^/../%5Ey/^', [], 'https://x%5E:p%5E@example.com/%5Ey/^'],
    ['https://x^@example.com/x^', [], 'https://x%5E@example.com/x^'],
    ['hf:a^b', [], 'hf:a^b'],
    ['s3://bucket/^/%5e/%5E?x', ['x'], 's3://bucket/^/%5e/%5E'],
    ['foo:/.//^', [], 'foo:/.//^'],
  ]
  const rows = [
    ...normalizedUrls.map(({ url, filter, normalized }) => [url, filter, normalized] as const),
    ...more,
  ]
  for (const [url, filter, normalized] of rows) {
    test(`normalizeTaskUrl() of ${url} without ${JSON.stringify(filter)}`, () => {
      assert.equal(normalizeTaskUrl(url, filter), normalized)
    })
  }

  const query = fc.array(
    fc.tuple(fc.constantFrom('a', 'b', 'X-Amz-Date', 'ns', 'ü', ''), fc.string()),
    { maxLength: 6 },
  )
  const urls = fc
    .tuple(
      fc.constantFrom('https://Example.com', 'http://h:80', 's3://bucket', 'hf://o/r', 'file://'),
      fc.constantFrom('', '/', '//', '/a/./b', '/a b/%7e', '/\u4f60'),
      query,
      fc.constantFrom('', '#', '#/', '#f//'),
    )
    .map(([origin, path, pairs, hash]) => {
      const text = pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')
      return `${origin}${path}?${text}${hash}`
    })

  test('normalizeTaskUrl() applied twice changes nothing more', () => {
    const filters = fc.subarray(['a', 'b', 'ü', 'ns'])
    fc.assert(
      fc.property(urls, filters, (url, filter) => {
        const once = normalizeTaskUrl(url, filter)
        assert.equal(normalizeTaskUrl(once, filter), once)
      }),
    )
  })

  test('normalizeTaskUrl() drops filtered pairs and keeps the others in order', () => {
    fc.assert(
      fc.property(query, fc.subarray(['a', 'ns', 'ü']), (pairs, filter) => {
        const given = new URLSearchParams(pairs)
        const result = new URL(normalizeTaskUrl(`https://h/p?${given.toString()}`, filter))
        const expected = [...given].filter(([name]) => !filter.includes(name))
        assert.deepEqual([...result.searchParams], expected)
      }),
    )
  })

  test('normalizeTaskUrl() makes two signed URLs of one object equal', () => {
    const signed = (date: string, signature: string): string =>
      `https://b.s3.example.com/k?versionId=1&X-Amz-Date=${date}&X-Amz-Signature=${signature}`
    assert.equal(
      normalizeTaskUrl(signed('1', 'aa'), defaultFilteredQueryParams),
      normalizeTaskUrl(signed('2', 'bb'), defaultFilteredQueryParams),
    )
  })

  test('normalizeTaskUrl() refuses what is no absolute URL and does not repeat its secrets', () => {
    for (const url of [
      '',
      'example.com/a',
      '/a',
      'https://',
      'https://user:secret@h:99999/?secret',
    ]) {
      assert.throws(
        () => normalizeTaskUrl(url),
        (error) => {
          assert.ok(PeerError.is(error, 'INVALID_URL'))
          assert.ok(!JSON.stringify([error.message, error.details]).includes('secret'))
          return true
        },
      )
    }
  })

  test('normalizeTaskUrl() gives the same answer on the ten thousandth call', () => {
    for (let call = 0; call < 10_000; call++) {
      assert.equal(normalizeTaskUrl('https://m\u00fcnchen.de/'), 'https://xn--mnchen-3ya.de')
    }
  })

  test('normalizeTaskUrl() takes linear time on a hostile fragment', () => {
    const slashes = '/'.repeat(500_000)
    const started = performance.now()
    assert.equal(normalizeTaskUrl(`https://h/#${slashes}x`), `https://h/#${slashes}x`)
    assert.equal(normalizeTaskUrl(`https://h/#${slashes}`), 'https://h/#')
    // A regular expression needs minutes here, this needs milliseconds.
    assert.ok(performance.now() - started < 5000)
  })
})

test('defaultFilteredQueryParams has the 30 names of the real client, none twice', () => {
  assert.equal(defaultFilteredQueryParams.length, 30)
  assert.equal(new Set(defaultFilteredQueryParams).size, 30)
  const groups: readonly (readonly [RegExp, number])[] = [
    [/^X-Amz-/, 8],
    [/^X-Goog-/, 6],
    [/^(OSSAccessKeyId|Expires|Signature|SecurityToken)$/, 4],
    [/^(AccessKeyId|Signature|Expires|X-Obs-Date|X-Obs-Security-Token)$/, 5],
    [/^(q-|x-cos-)/, 8],
    [/^ns$/, 1],
  ]
  for (const [group, count] of groups) {
    assert.equal(defaultFilteredQueryParams.filter((name) => group.test(name)).length, count)
  }
})

describe('blobSha256()', () => {
  const hex = 'ab'.repeat(32)

  test('blobSha256() finds the digest with any scheme, name and query', () => {
    for (const url of [
      `https://r.example.com/v2/library/alpine/blobs/sha256:${hex}`,
      `http://127.0.0.1:5000/v2/a/blobs/sha256:${hex}?ns=docker.io`,
      `oci://r/v2/a/b/c/blobs/sha256:${hex}?next=/blobs/x`,
      `https://r/prefix/v2/blobs/blobs/sha256:${hex}`,
    ]) {
      assert.equal(blobSha256(url), hex, url)
    }
  })

  test('blobSha256() is undefined for other URLs and for digests that make no task id', () => {
    for (const url of [
      'https://r/v2/a/manifests/latest',
      `https://r/a/blobs/sha256:${hex}`,
      `https://r/v1/a/blobs/sha256:${hex}`,
      `r/v2/a/blobs/sha256:${hex}`,
      `https://r/?u=/v2/a/blobs/sha256:${hex}`,
      `https://r/v2/a/blobs/sha512:${hex}${hex}`,
      'https://r/v2/a/blobs/crc32:1475635037',
    ]) {
      assert.equal(blobSha256(url), undefined, url)
    }
  })

  test('blobSha256() refuses a blob URL without a proper digest', () => {
    for (const digest of [
      '',
      'latest',
      `sha256:${hex.toUpperCase()}`,
      `sha256:${hex}0`,
      `sha256:${hex}/x`,
      'sha256:../../../etc/passwd',
      'md5:d41d8cd98f00b204e9800998ecf8427e',
      'crc32:4294967296',
    ]) {
      assert.throws(
        () => blobSha256(`https://r/v2/a/blobs/${digest}`),
        (error) => PeerError.is(error, 'INVALID_URL'),
      )
    }
  })
})

test('sharedQueryParams() gives the default list itself for its names, and others as they are', () => {
  const shared = defaultFilteredQueryParams
  assert.equal(sharedQueryParams([...shared]), shared)
  for (const other of [[], ['ns'], shared.slice(1), [...shared, 'x'], shared.with(3, 'x')]) {
    assert.equal(sharedQueryParams(other), other)
  }
})

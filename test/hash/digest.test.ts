import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  type DigestAlgorithm,
  digestAlgorithms,
  formatDigest,
  Hasher,
  isDigest,
  parseDigest,
  pieceDigest,
  pieceDigestMatches,
  pieceMetadataDigest,
  sameDigest,
} from '../../src/hash/digest.ts'
import { crcs, pieceMetadata, sha256OfTestContent, sha512OfAbc } from '../vectors/digests.ts'

describe('parseDigest()', () => {
  const good: readonly (readonly [string, DigestAlgorithm, string])[] = [
    ['crc32:1475635037', 'crc32', '1475635037'],
    ['crc32:4294967295', 'crc32', '4294967295'],
    ['crc32:0', 'crc32', '0'],
    ['crc32:42', 'crc32', '42'],
    ['crc32:0000000042', 'crc32', '42'],
    [`sha256:${sha256OfTestContent}`, 'sha256', sha256OfTestContent],
    [`sha512:${sha512OfAbc}`, 'sha512', sha512OfAbc],
  ]
  for (const [text, algorithm, value] of good) {
    test(`parseDigest() takes ${text}`, () => {
      assert.deepEqual(parseDigest(text), { algorithm, value })
      assert.equal(isDigest(text), true)
    })
  }

  const bad: readonly string[] = [
    '',
    ':',
    'crc32',
    'crc32:',
    'crc32:4294967296',
    'crc32:00000000042',
    'crc32:-1',
    'crc32:1e3',
    'crc32: 42',
    'crc32:42\n',
    'CRC32:42',
    'sha256',
    `sha256${sha256OfTestContent}`,
    `sha256:${sha256OfTestContent.toUpperCase()}`,
    `sha256:${sha256OfTestContent.slice(1)}`,
    `sha256:${sha256OfTestContent}0`,
    `sha512:${sha256OfTestContent}`,
    `sha256:sha256:${sha256OfTestContent}`,
    'md5:d41d8cd98f00b204e9800998ecf8427e',
    'toString:1',
  ]
  for (const text of bad) {
    test(`parseDigest() refuses ${JSON.stringify(text)} and names the key`, () => {
      assert.throws(() => parseDigest(text, 'options.digest'), {
        name: 'TypeError',
        message: /^options\.digest must be /,
      })
      assert.equal(isDigest(text), false)
    })
  }

  test('parseDigest() refuses what is no string', () => {
    for (const value of [undefined, null, 7, {}]) {
      assert.throws(() => parseDigest(value as string), TypeError)
    }
  })
})

test('formatDigest() is the inverse of parseDigest()', () => {
  const hex = (length: number): fc.Arbitrary<string> =>
    fc.string({
      unit: fc.constantFrom(...'0123456789abcdef'.split('')),
      minLength: length,
      maxLength: length,
    })
  const digest = fc.oneof(
    fc.nat(0xffff_ffff).map((crc) => `crc32:${crc}`),
    hex(64).map((value) => `sha256:${value}`),
    hex(128).map((value) => `sha512:${value}`),
  )
  fc.assert(
    fc.property(digest, (text) => {
      assert.equal(formatDigest(parseDigest(text)), text)
    }),
  )
})

test('sameDigest() compares what the strings say', () => {
  assert.equal(sameDigest('crc32:42', 'crc32:0000000042'), true)
  assert.equal(sameDigest('crc32:42', 'crc32:43'), false)
  assert.equal(sameDigest('crc32:42', `sha256:${sha256OfTestContent}`), false)
  assert.throws(() => sameDigest('crc32:42', ''), TypeError)
})

test('pieceDigest() is the checksum in decimal without padding', () => {
  assert.equal(pieceDigest(1929153120), 'crc32:1929153120')
  assert.equal(pieceDigest(0), 'crc32:0')
  assert.equal(pieceDigest(0xffff_ffff), 'crc32:4294967295')
  for (const crc of [-1, 2 ** 32, 0.5, Number.NaN]) {
    assert.throws(() => pieceDigest(crc), RangeError)
  }
})

test('pieceDigestMatches() takes the same digest, and the empty one for every piece', () => {
  assert.equal(pieceDigestMatches('crc32:42', 42), true)
  assert.equal(pieceDigestMatches('', 42), true)
  assert.equal(pieceDigestMatches('crc32:43', 42), false)
  assert.equal(pieceDigestMatches('crc32:0000000042', 42), false)
  assert.equal(pieceDigestMatches(`sha256:${sha256OfTestContent}`, 42), false)
})

test('pieceMetadataDigest() agrees with the known value', () => {
  assert.equal(pieceMetadataDigest(pieceMetadata), pieceMetadata.metadataDigest)
})

test('pieceMetadataDigest() writes 64-bit offsets and lengths', () => {
  const piece = { number: 0, offset: 0, length: 1, digest: '' }
  const digests = [0, 1, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER].map((offset) =>
    pieceMetadataDigest({ ...piece, offset }),
  )
  assert.equal(new Set(digests).size, digests.length)
  assert.throws(() => pieceMetadataDigest({ ...piece, offset: -1 }), RangeError)
  assert.throws(() => pieceMetadataDigest({ ...piece, length: 2 ** 53 }), RangeError)
  assert.throws(() => pieceMetadataDigest({ ...piece, number: 2 ** 32 }), RangeError)
})

describe('Hasher', () => {
  test('Hasher.digest() agrees with the known values', () => {
    for (const { text, crc } of crcs) {
      assert.equal(new Hasher('crc32').update(Buffer.from(text)).digest(), `crc32:${crc}`)
    }
    const content = Buffer.from('test content')
    assert.equal(new Hasher('sha256').update(content).digest(), `sha256:${sha256OfTestContent}`)
    assert.equal(new Hasher('sha512').update(Buffer.from('abc')).digest(), `sha512:${sha512OfAbc}`)
  })

  test('Hasher.digest() does not depend on how the content is cut', () => {
    const parts = fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 8 })
    fc.assert(
      fc.property(fc.constantFrom(...digestAlgorithms), parts, (algorithm, chunks) => {
        const inParts = new Hasher(algorithm)
        // One buffer for all parts: the hasher must not look at it later.
        const reused = new Uint8Array(100)
        for (const chunk of chunks) {
          reused.set(chunk)
          inParts.update(reused.subarray(0, chunk.length))
        }
        const whole = new Hasher(algorithm).update(Buffer.concat(chunks))
        assert.equal(inParts.digest(), whole.digest())
      }),
    )
  })

  test('Hasher.digest() gives a digest string that can be parsed, and the same one again', () => {
    for (const algorithm of digestAlgorithms) {
      const hasher = new Hasher(algorithm).update(Buffer.from('content'))
      const digest = hasher.digest()
      assert.equal(parseDigest(digest).algorithm, algorithm)
      assert.equal(hasher.digest(), digest)
      assert.throws(() => hasher.update(new Uint8Array(1)), TypeError)
    }
  })

  test('Hasher.update() reads shared memory', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(12))
    shared.set(Buffer.from('test content'))
    assert.equal(new Hasher('sha256').update(shared).digest(), `sha256:${sha256OfTestContent}`)
  })

  test('Hasher refuses an algorithm that digest strings do not know', () => {
    assert.throws(() => new Hasher('md5' as unknown as DigestAlgorithm), TypeError)
  })
})

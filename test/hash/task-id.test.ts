import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PeerError } from '../../src/errors.ts'
import {
  contentTaskId,
  isTaskId,
  PersistentCacheTaskId,
  persistentTaskId,
  pieceKey,
  standardTaskId,
} from '../../src/hash/task-id.ts'
import * as vectors from '../vectors/task-ids.ts'

const url = 'https://example.com'

describe('standardTaskId()', () => {
  for (const { parts, id } of vectors.standardTaskIds) {
    test(`standardTaskId() of ${JSON.stringify(parts)}`, () => {
      assert.equal(standardTaskId(parts), id)
    })
  }

  for (const { url: given, filter, idStart } of vectors.normalizedUrls) {
    test(`standardTaskId() of ${given} without ${JSON.stringify(filter)}`, () => {
      const id = standardTaskId({ url: given, filteredQueryParams: filter })
      assert.equal(id.slice(0, 8), idStart)
    })
  }

  test('standardTaskId() treats an empty tag, application and revision as none', () => {
    assert.equal(
      standardTaskId({ url, tag: '', application: '', revision: '' }),
      standardTaskId({ url }),
    )
  })

  test('standardTaskId() by content ignores all other parts, also a bad URL', () => {
    const id = standardTaskId({ url: 'no url', content: 'x', tag: 'foo', pieceLength: 1024 })
    assert.equal(id, contentTaskId('x'))
    assert.equal(
      standardTaskId({ url, content: '' }),
      contentTaskId(''),
      'the empty text is a text',
    )
  })

  test('standardTaskId() takes the blob digest only when asked to', () => {
    const blob = `https://r.example.com/v2/a/b/blobs/sha256:${'ab'.repeat(32)}`
    assert.equal(standardTaskId({ url: blob, blobDigest: true, tag: 'foo' }), 'ab'.repeat(32))
    assert.notEqual(standardTaskId({ url: blob }), 'ab'.repeat(32))
  })

  test('standardTaskId() names a blob with a digest that is no task id by its URL', () => {
    for (const digest of [`sha512:${'ab'.repeat(64)}`, 'crc32:1475635037']) {
      const blob = `https://r.example.com/v2/a/b/blobs/${digest}`
      assert.equal(standardTaskId({ url: blob, blobDigest: true }), standardTaskId({ url: blob }))
    }
  })

  test('standardTaskId() refuses a piece length that is no positive whole number', () => {
    for (const pieceLength of [0, -1, 1.5, 2 ** 53]) {
      assert.throws(() => standardTaskId({ url, pieceLength }), RangeError)
    }
  })

  test('standardTaskId() refuses a bad URL', () => {
    assert.throws(
      () => standardTaskId({ url: 'example.com/a' }),
      (error) => PeerError.is(error, 'INVALID_URL'),
    )
  })

  test('standardTaskId() is always a task id', () => {
    const texts = fc.option(fc.string(), { nil: undefined })
    fc.assert(
      fc.property(fc.webUrl(), texts, texts, (given, tag, content) => {
        assert.ok(isTaskId(standardTaskId({ url: given, tag, content })))
      }),
    )
  })
})

test('contentTaskId() agrees with the known value', () => {
  assert.equal(contentTaskId(vectors.persistentCacheContent), vectors.contentId)
})

test('persistentTaskId() agrees with the known value and takes the URL as it is', () => {
  for (const { id, ...parts } of vectors.persistentTaskIds) {
    assert.equal(persistentTaskId(parts), id)
    assert.notEqual(persistentTaskId({ ...parts, url: `${parts.url}/` }), id)
  }
})

describe('PersistentCacheTaskId', () => {
  for (const { parts, id } of vectors.persistentCacheTaskIds) {
    test(`PersistentCacheTaskId.id() with ${JSON.stringify(parts)}, whole and in parts`, () => {
      const bytes = Buffer.from(vectors.persistentCacheContent)
      assert.equal(new PersistentCacheTaskId(parts).update(bytes).id(), id)
      const inParts = new PersistentCacheTaskId(parts)
      for (const byte of bytes) inParts.update(Uint8Array.of(byte))
      assert.equal(inParts.id(), id)
    })
  }

  test('PersistentCacheTaskId.id() ends the file and stays the same', () => {
    const naming = new PersistentCacheTaskId()
    const id = naming.id()
    assert.ok(isTaskId(id))
    assert.equal(naming.id(), id)
    assert.throws(() => naming.update(new Uint8Array(1)), TypeError)
  })

  test('PersistentCacheTaskId refuses a piece length that is no positive whole number', () => {
    assert.throws(() => new PersistentCacheTaskId({ pieceLength: 0 }), RangeError)
  })
})

test('isTaskId() takes 64 lower-case hex digits and nothing else', () => {
  const id = '0123456789abcdef'.repeat(4)
  assert.equal(isTaskId(id), true)
  const refused: readonly unknown[] = [
    '',
    id.slice(1),
    `${id}0`,
    `${id}\n`,
    ` ${id.slice(1)}`,
    id.toUpperCase(),
    `${id.slice(1)}g`,
    `${id.slice(1)}/`,
    `../${id.slice(3)}`,
    `${id.slice(1)}\0`,
    `${id.slice(1)}٣`,
    undefined,
    null,
    7,
    [id],
  ]
  for (const value of refused) assert.equal(isTaskId(value), false, String(value))
})

test('pieceKey() is task id, hyphen and number', () => {
  const id = 'ab'.repeat(32)
  assert.equal(pieceKey(id, 0), `${id}-0`)
  assert.equal(pieceKey(id, 4294967295), `${id}-4294967295`)
  assert.throws(() => pieceKey(id, -1), RangeError)
  assert.throws(() => pieceKey(id, 1.5), RangeError)
})

import assert from 'node:assert/strict'
import test from 'node:test'
import { isVersionToken, versionToken } from '../../src/hash/version.ts'

test('versionToken() is the first half of the SHA-256 of the validator', () => {
  assert.equal(versionToken(''), 'e3b0c44298fc1c149afbf4c8996fb924')
  assert.equal(versionToken('etag:"a"'), versionToken('etag:"a"'))
  assert.notEqual(versionToken('etag:"a"'), versionToken('etag:"b"'))
})

test('isVersionToken() takes tokens and nothing else', () => {
  assert.equal(isVersionToken(versionToken('etag:"a"')), true)
  for (const text of ['', 'a', 'E3B0C44298FC1C149AFBF4C8996FB924', `${versionToken('a')}0`]) {
    assert.equal(isVersionToken(text), false, text)
  }
})

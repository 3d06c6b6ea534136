import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { crc32 } from '../../src/hash/crc32.ts'
import { crcs } from '../vectors/digests.ts'

test('crc32() agrees with the known values', () => {
  for (const { text, crc } of crcs) assert.equal(crc32(Buffer.from(text)), crc, text)
})

test('crc32() in parts equals the whole', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), (bytes, cut) => {
      const first = crc32(bytes.subarray(0, cut))
      assert.equal(crc32(bytes.subarray(cut), first), crc32(bytes))
    }),
  )
})

test('crc32() reads shared memory', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(9))
  shared.set(Buffer.from('123456789'))
  assert.equal(crc32(shared), 3421780262)
})

test('crc32() refuses a previous value that is no checksum', () => {
  assert.throws(() => crc32(new Uint8Array(1), -1), RangeError)
  assert.throws(() => crc32(new Uint8Array(1), 2 ** 32), RangeError)
})

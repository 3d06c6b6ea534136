import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import createXxhash from 'xxhash-wasm'
import { loadXxhash } from '../../src/hash/xxhash.ts'
import { xxh64s } from '../vectors/digests.ts'

test('loadXxhash() loads once', async () => {
  assert.equal(await loadXxhash(), await loadXxhash())
})

test('Xxhash.h64() agrees with the reference values', async () => {
  const { h64, create64 } = await loadXxhash()
  for (const { text, hash } of xxh64s) {
    assert.equal(h64(Buffer.from(text)), hash, text)
    assert.equal(create64().update(Buffer.from(text)).digest(), hash, text)
  }
})

test('Xxhash.h64() of long input, which goes in by parts, equals the hash in one go', async () => {
  const { h64 } = await loadXxhash()
  const wasm = await createXxhash()
  const partBytes = 256 * 1024
  const bytes = new Uint8Array(3 * partBytes + 17).map((_, at) => at * 31 + (at >> 8))
  for (const length of [partBytes - 1, partBytes, partBytes + 1, 2 * partBytes, bytes.length]) {
    const input = bytes.subarray(1, length)
    assert.equal(h64(input), wasm.h64Raw(input), `${length} bytes`)
  }
})

test('Xxhash.create64() does not depend on how the content is cut, also with two under way', async () => {
  const { h64, create64 } = await loadXxhash()
  const parts = fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 8 })
  fc.assert(
    fc.property(parts, (chunks) => {
      const forwards = create64()
      const backwards = create64()
      chunks.forEach((chunk, at) => {
        forwards.update(chunk)
        backwards.update(chunks.at(-1 - at) ?? chunk)
      })
      assert.equal(forwards.digest(), h64(Buffer.concat(chunks)))
      assert.equal(backwards.digest(), h64(Buffer.concat(chunks.toReversed())))
    }),
  )
})

test('Xxh64.digest() can be followed by more bytes', async () => {
  const { h64, create64 } = await loadXxhash()
  const hash = create64().update(Buffer.from('a'))
  assert.equal(hash.digest(), h64(Buffer.from('a')))
  assert.equal(hash.update(Buffer.from('bc')).digest(), h64(Buffer.from('abc')))
})

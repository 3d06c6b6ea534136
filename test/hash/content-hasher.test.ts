import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { ContentHasher, hashOnThreadBytesMin } from '../../src/hash/content-hasher.ts'
import { crc32 } from '../../src/hash/crc32.ts'
import { leaks } from '../support/leaks.ts'

for (const length of [0, 5, 3_000_000, hashOnThreadBytesMin + 7]) {
  for (const algorithm of ['sha256', 'sha512', 'crc32'] as const) {
    test(`ContentHasher digests ${length} bytes with ${algorithm}`, async (t) => {
      leaks(t)
      const content = Buffer.alloc(length, 'dragonfly-peer')
      await using hasher = new ContentHasher(algorithm, length)
      for (let at = 0; at < length; ) {
        const buffer = await hasher.buffer()
        const count = content.copy(buffer, 0, at)
        hasher.push(buffer, count)
        at += count
      }
      const hex =
        algorithm === 'crc32'
          ? String(crc32(content))
          : createHash(algorithm).update(content).digest('hex')
      assert.equal(await hasher.digest(), `${algorithm}:${hex}`)
    })
  }
}

test('ContentHasher.buffer() rejects when the thread ended, and nothing waits for ever', async () => {
  const hasher = new ContentHasher('sha256', hashOnThreadBytesMin)
  await hasher[Symbol.asyncDispose]()
  await assert.rejects(hasher.buffer(), /thread ended/)
  await assert.rejects(hasher.digest(), /thread ended/)
})

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { Content, expectedSha256 } from './content.ts'
import { tempFolder } from './temp-folder.ts'
import { sha256OfFile, verifyBytes, verifyFile, verifyStream } from './verify.ts'

const length = 5 * 64 * 1024 + 77
const whole = new Content(length, 7).bytes()

test('Content.fill() gives the same bytes from any offset, in any order', () => {
  const content = new Content(length, 7)
  fc.assert(
    fc.property(fc.nat(length), fc.nat(200_000), (offset, count) => {
      const target = new Uint8Array(count)
      const filled = content.fill(target, offset)
      assert.equal(filled, Math.min(count, length - offset))
      assert.ok(
        Buffer.from(whole.subarray(offset, offset + filled)).equals(target.subarray(0, filled)),
      )
      assert.ok(target.subarray(filled).every((byte) => byte === 0))
    }),
    { numRuns: 200 },
  )
})

test('Content.fill() reaches offsets beyond 4 GiB', () => {
  const content = new Content(2 ** 40, 3)
  const offset = 2 ** 36 + 5
  const twoSteps = new Uint8Array(100_000)
  content.fill(twoSteps.subarray(0, 1234), offset)
  content.fill(twoSteps.subarray(1234), offset + 1234)
  assert.deepEqual(content.bytes(offset, 100_000), twoSteps)
})

test('Content has different blocks under one seed, and under another seed different ones', () => {
  const seen = new Set<string>()
  for (let seed = 0; seed < 20; seed += 1) {
    for (const block of new Content(64 * 65_536, seed).chunks()) {
      seen.add(createHash('sha256').update(block).digest('hex'))
    }
  }
  assert.equal(seen.size, 20 * 64)
})

test('Content has every byte value about as often as the others', () => {
  const counts = new Uint32Array(256)
  for (const byte of new Content(1 << 20, 1).bytes()) counts[byte] = (counts[byte] ?? 0) + 1
  // 4096 of each are expected with a deviation of 64; eight deviations do not happen by chance.
  assert.ok(counts.every((count) => Math.abs(count - 4096) < 512))
})

test('Content.sha256() is the digest of all chunks', () => {
  const hash = createHash('sha256')
  for (const chunk of new Content(length, 7).chunks(0, length, 1000)) hash.update(chunk)
  assert.equal(expectedSha256(length, 7), hash.digest('hex'))
  assert.equal(expectedSha256(0), createHash('sha256').digest('hex'))
})

test('Content.difference() finds the first wrong byte', () => {
  fc.assert(
    fc.property(fc.nat(length - 1), fc.nat(length - 1), (start, wrong) => {
      const bytes = whole.slice(start)
      const content = new Content(length, 7)
      assert.equal(content.difference(bytes, start), undefined)
      if (wrong >= bytes.length) return
      bytes[wrong] = (bytes[wrong] ?? 0) ^ 1
      assert.equal(content.difference(bytes, start), start + wrong)
    }),
    { numRuns: 50 },
  )
})

test('Content.difference() takes bytes after the end as a difference', () => {
  const content = new Content(10, 7)
  assert.equal(content.difference(new Uint8Array([...content.bytes(), 0]), 0), 10)
})

test('verifyStream() refuses too few bytes, too many, and wrong ones', async () => {
  const content = new Content(300_000, 9)
  await verifyStream(content.chunks(), content)
  await verifyStream(content.chunks(5000, 70_000, 999), content, 5000, 70_000)
  await assert.rejects(
    verifyStream(content.chunks(0, 299_999), content),
    /Wanted 300000 bytes, got 299999/,
  )
  await assert.rejects(
    verifyStream([...content.chunks(), new Uint8Array(1)], content),
    /byte 300000/,
  )
  await assert.rejects(verifyStream(new Content(300_000, 10).chunks(), content), /differs at byte/)
})

test('verifyFile() refuses a file that is short, long or wrong', async (t) => {
  const content = new Content(200_000, 2)
  const path = join(tempFolder(t), 'file')
  writeFileSync(path, content.bytes())
  await verifyFile(path, content)
  assert.equal(await sha256OfFile(path), content.sha256())
  writeFileSync(path, content.bytes(0, 199_999))
  await assert.rejects(verifyFile(path, content))
  writeFileSync(path, [content.bytes(), new Uint8Array(1)].map(String).join())
  await assert.rejects(verifyFile(path, content))
})

test('verifyBytes() compares from the offset', () => {
  const content = new Content(1000, 4)
  verifyBytes(content.bytes(100, 50), content, 100)
  assert.throws(() => verifyBytes(content.bytes(100, 50), content, 101), /differs at byte 101/)
})

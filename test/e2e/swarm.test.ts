import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'
import { origin } from '../support/origin.ts'
import { assertCopies, assertOriginShare, contentBytes, Swarm } from './support/swarm.ts'

const mebibyte = 1024 * 1024
const lengths = [
  0,
  1,
  4 * mebibyte - 1,
  4 * mebibyte,
  4 * mebibyte + 1,
  100 * mebibyte + 7,
] as const

test('Download.toFile() in eight processes at once, with one seed', async (t) => {
  const swarm = await Swarm.start(t, 8)
  for (const [at, length] of lengths.entries()) {
    await t.test(`${length} bytes are exact everywhere and leave the origin once`, async (u) => {
      const served = await origin(u, { length, seed: at + 1 })
      const copies = await swarm.download(served.url, String(length))
      assertCopies(copies, served)
      assertOriginShare(served)
      // The seed fetched all of it, for everybody.
      assert.ok(copies.every(({ info }) => info.traffic.source === 0))
      // Asking for the only byte looks like asking about the content.
      if (length !== 1) assert.equal(contentBytes(served), length)
    })
  }
  await swarm.close()
})

test('Download.toFile() in the seed itself as well, at the same moment, reads the origin once', async (t) => {
  const swarm = await Swarm.start(t, 2)
  // Who comes first is a matter of chance, so there are several tries.
  for (let seed = 11; seed < 16; seed += 1) {
    const served = await origin(t, { length: 5 * mebibyte, seed })
    const name = String(seed)
    const [own, others] = await Promise.all([
      swarm.seed.download(served.url, join(swarm.seed.folder, name)),
      swarm.download(served.url, name),
    ])
    assertCopies([own, ...others], served)
    assertOriginShare(served)
  }
  await swarm.close()
})

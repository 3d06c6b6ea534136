import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { origin } from '../support/origin.ts'
import { assertCopies, assertOriginShare, Swarm } from './support/swarm.ts'

/** Above what a signed number of 32 bits holds, and long enough for pieces of 8 MiB. */
const length = 2_200_000_011
/** A small part of the content: memory does not grow with it. `bench/memory.ts` measures how much it is, without the weight of a test. */
const residentBytesMax = 256 * 1024 * 1024

test('Download.toFile() of 2.2 GB in eight processes at once: exact, in pieces of 8 MiB, from the origin once, with a bound on memory', async (t) => {
  const swarm = await Swarm.start(t, 8)
  const served = await origin(t, { length, seed: 7 })
  const copies = await swarm.download(served.url, 'large')
  assertCopies(copies, served)
  assertOriginShare(served)
  for (const { info } of copies) {
    assert.equal(info.pieceLength, 8 * 1024 * 1024)
    assert.equal(info.pieces, 263)
  }
  if (process.platform === 'linux') {
    for (const peer of swarm.others) {
      const { peakBytes } = await peer.memory()
      assert.ok(peakBytes <= residentBytesMax, `${peakBytes} bytes were resident`)
    }
  }
  await Promise.all(swarm.others.map(async ({ folder }) => rm(join(folder, 'large'))))
  await swarm.close()
})

import assert from 'node:assert/strict'
import type { Peer } from '../../src/index.ts'
import type { Ending } from '../support/cleanup.ts'
import { contentBytes } from '../e2e/support/swarm.ts'
import { type Origin, origin } from '../support/origin.ts'
import { ourCopy, realCopy, since } from './support/copies.ts'
import type { DaemonProgram } from './support/daemon-program.ts'
import { bytesFrom, bytesServed, heard } from './support/hooks.ts'
import { matrixTest } from './support/matrix.ts'
import { sharedSite } from './support/site.ts'

const mebibyte = 1024 * 1024
const length = 400 * mebibyte + 11
/** A real child draws the parent of each piece by chance, by the bandwidth that each says it has free: neither knows the speed of the card, and both say 400 Gbit/s. */
const shared = sharedSite({ daemons: 2 })

/** One of ours and one real daemon have the content; the origin sent it once. */
async function parents(
  t: Ending,
  seed: number,
): Promise<{
  readonly ours: Peer
  readonly real: DaemonProgram
  readonly served: Origin
  readonly task: string
}> {
  const site = shared()
  const served = await origin(t, { length, seed })
  const ours = await site.peer(t)
  const { id: task } = await ourCopy(ours, { site, served })
  const real = site.daemon(0)
  await realCopy(t, real, { site, served })
  assert.equal(contentBytes(served), length)
  return { ours, real, served, task }
}

matrixTest(3, 'our child from one real parent and one of ours, 400 MiB + 11', async (t, facts) => {
  const site = shared()
  const { ours, real, served, task } = await parents(t, 301)
  const kept = heard(t, 'dragonfly-peer:piece:kept')
  const given = heard(t, 'dragonfly-peer:piece:served')
  const uploaded = await real.uploaded()

  const child = await site.peer(t)
  const info = await ourCopy(child, { site, served, facts })

  const fromReal = bytesFrom(kept, task, real.hostId)
  const fromOurs = bytesFrom(kept, task, ours.hostId)
  facts.origin(served)
  facts.traffic('ours', info.traffic)
  facts.note(`the real parent gave ${fromReal}, ours ${fromOurs}`)
  assert.deepEqual(info.traffic, { source: 0, peers: length, local: 0 })
  assert.equal(fromReal + fromOurs, length)
  assert.equal((await real.uploaded()) - uploaded, fromReal)
  assert.equal(bytesServed(given, task), fromOurs)
  assert.ok(fromReal > 0 && fromOurs > 0)
  assert.equal(contentBytes(served), length)
})

matrixTest(3, 'real child from one real parent and one of ours, 400 MiB + 11', async (t, facts) => {
  const site = shared()
  const { ours, real, served, task } = await parents(t, 302)
  const child = site.daemon(1)
  const given = heard(t, 'dragonfly-peer:piece:served')
  const [before, uploaded] = [await child.traffic(), await real.uploaded()]

  await realCopy(t, child, { site, served, facts })

  const traffic = since(before, await child.traffic())
  const fromOurs = bytesServed(given, task)
  const fromReal = (await real.uploaded()) - uploaded
  facts.origin(served)
  facts.traffic('real', traffic)
  facts.note(`the real parent gave ${fromReal}, ours ${fromOurs}`)
  assert.deepEqual(traffic, { source: 0, peers: length, local: 0 })
  assert.equal(fromReal + fromOurs, length)
  const names = new Set(child.pieces(task).map(({ parent }) => parent.slice(0, -37)))
  assert.deepEqual([...names].toSorted(), [ours.hostId, real.hostId].toSorted())
  assert.equal(contentBytes(served), length)
})

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { PeerError } from '../../src/index.ts'
import { contentBytes } from '../e2e/support/swarm.ts'
import { origin } from '../support/origin.ts'
import { aloneLengths, ourCopy, realCopy, sharedLengths } from './support/copies.ts'
import { dfget } from './support/tool.ts'
import { bytesFrom, heard } from './support/hooks.ts'
import { type CaseFacts, matrixTest } from './support/matrix.ts'
import { sharedSite } from './support/site.ts'

const mebibyte = 1024 * 1024
const shared = sharedSite({ daemons: 3 })
let seed = 100

for (const { name, length } of sharedLengths) {
  for (const count of [1, 3]) {
    const parents = count === 1 ? 'one real parent' : `${count} real parents`
    matrixTest(1, `our child, ${parents}, ${name}`, async (t, facts) =>
      fromDaemons(t, facts, length, count),
    )
  }
}

async function fromDaemons(
  t: TestContext,
  facts: CaseFacts,
  length: number,
  count: number,
): Promise<void> {
  const site = shared()
  const served = await origin(t, { length, seed: ++seed })
  const parents = site.daemons.slice(0, count)
  for (const daemon of parents) await realCopy(t, daemon, { site, served })
  const uploaded = await uploads(parents)
  const kept = heard(t, 'dragonfly-peer:piece:kept')
  const failed = heard(t, 'dragonfly-peer:piece:failed')

  const peer = await site.peer(t)
  const info = await ourCopy(peer, { site, served, facts })

  facts.origin(served)
  facts.traffic('ours', info.traffic)
  assert.deepEqual(info.traffic, { source: 0, peers: length, local: 0 })
  assert.equal(contentBytes(served), length, 'only the first daemon read the origin')
  assert.deepEqual(failed, [])
  const parts = parents.map(({ hostId }) => bytesFrom(kept, info.id, hostId))
  const now = await uploads(parents)
  const given = parents.map((_, at) => (now[at] ?? 0) - (uploaded[at] ?? 0))
  assert.deepEqual(given, parts, 'what the daemons say they gave is what we say we got')
  if (count > 1) facts.note(`parents gave ${parts.join(', ')}`)
  // Two pieces need not come from three parents.
  if (info.pieces > 10) assert.ok(parts.every((bytes) => bytes > 0))
}

async function uploads(
  daemons: readonly { uploaded(): Promise<number> }[],
): Promise<readonly number[]> {
  return Promise.all(daemons.map(async (daemon) => daemon.uploaded()))
}

for (const { name, length } of aloneLengths) {
  matrixTest(
    1,
    `our child after a plain dfget, ${name}: nobody knows that the daemon has it`,
    async (t, facts) => {
      const site = shared()
      const served = await origin(t, { length, seed: ++seed })
      await realCopy(t, site.daemon(0), { site, served })
      const peer = await site.peer(t)
      const info = await ourCopy(peer, { site, served, facts })
      facts.origin(served)
      facts.traffic('ours', info.traffic)
      assert.deepEqual(info.traffic, { source: length, peers: 0, local: 0 })
    },
  )

  matrixTest(
    1,
    `our child, one real parent that had to ask the scheduler, ${name}`,
    async (t, facts) => {
      const site = shared()
      const served = await origin(t, { length, seed: ++seed })
      const first = await site.peer(t)
      await ourCopy(first, { site, served })
      const sent = contentBytes(served)
      await realCopy(t, site.daemon(0), { site, served }, { backToSource: false })
      await first.close()
      const peer = await site.peer(t)
      const never = { backToSource: 'never' } as const
      if (length === 0) {
        // With no piece to fetch it had nothing to ask the scheduler about either, so nobody knows of it.
        await assert.rejects(ourCopy(peer, { site, served }, never), (error) =>
          PeerError.is(error, 'NO_PARENTS'),
        )
        facts.note('NO_PARENTS')
        return
      }
      const info = await ourCopy(peer, { site, served, facts }, never)
      facts.origin(served)
      facts.traffic('ours', info.traffic)
      assert.deepEqual(info.traffic, { source: 0, peers: length, local: 0 })
      assert.equal(contentBytes(served), sent)
    },
  )
}

matrixTest(1, 'our child, one real parent, a range of 100 MiB + 7', async (t, facts) => {
  const site = shared()
  const served = await origin(t, { length: 100 * mebibyte + 7, seed: ++seed })
  await realCopy(t, site.daemon(0), { site, served })
  const peer = await site.peer(t)
  const range = { start: 9 * mebibyte + 3, length: 21 * mebibyte }
  const info = await ourCopy(peer, { site, served, facts }, { range })
  facts.origin(served)
  facts.traffic('ours', info.traffic)
  // Pieces 2 to 7, whole.
  assert.deepEqual(info.traffic, { source: 0, peers: 6 * 4 * mebibyte, local: 0 })
  assert.equal(contentBytes(served), served.content.length)
})

matrixTest(1, 'our child wants all of which the real parent has a range', async (t, facts) => {
  const site = shared()
  const length = 60 * mebibyte
  const served = await origin(t, { length, seed: ++seed })
  const output = site.path('part')
  // Pieces 2 to 5 of 15.
  const range = `Range: bytes=${8 * mebibyte}-${24 * mebibyte - 1}`
  const { socketPath } = site.daemon(0)
  await dfget(t, socketPath, served.url, { output, args: ['-H', range] }).done()
  const sent = contentBytes(served)
  assert.equal(sent, 16 * mebibyte)
  const peer = await site.peer(t)
  const info = await ourCopy(peer, { site, served, facts })
  facts.origin(served)
  facts.traffic('ours', info.traffic)
  assert.equal(info.traffic.peers + info.traffic.source, length)
  assert.ok(info.traffic.peers <= 16 * mebibyte)
})

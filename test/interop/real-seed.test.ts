import assert from 'node:assert/strict'
import { before } from 'node:test'
import type { Peer, TaskInfo } from '../../src/index.ts'
import { contentBytes } from '../e2e/support/swarm.ts'
import type { Ending } from '../support/cleanup.ts'
import { type Origin, origin } from '../support/origin.ts'
import { verifyFile } from '../support/verify.ts'
import { fileEnding } from './support/file-ending.ts'
import { bytesFrom, heard } from './support/hooks.ts'
import { matrixTest } from './support/matrix.ts'
import { Site } from './support/site.ts'

/** Nine pieces of 4 MiB and a short one. */
const length = 9 * (4 << 20) + 123_457
const peersCount = 8

const ending = fileEnding()
let site: Site

before(async () => {
  site = await Site.start(ending, { daemons: [{ seed: true }] })
  await site.scheduler.untilSeedsAreKnown()
})

for (const [name, bytesPerSecond] of [
  ['a fast origin', undefined],
  ['a slow origin', 1_500_000],
] as const) {
  matrixTest(5, `eight peers of ours at once by a real seed, ${name}`, async (t, facts) => {
    const real = site.daemon(0)
    const atFirst = await real.traffic()
    const uploaded = await real.uploaded()
    const served = await origin(t, {
      length,
      seed: 51,
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    })
    const kept = heard(t, 'dragonfly-peer:piece:kept')
    const peers = await startPeers(t)
    const infos = await facts.time(() =>
      Promise.all(peers.map(async (peer) => fetchVerified(peer, served))),
    )
    for (const { traffic } of infos) assert.deepEqual(traffic, allFromPeers)
    const { source } = await real.traffic()
    assert.equal(source - atFirst.source, length)
    assert.equal(contentBytes(served), length)
    const fromSeed = bytesFrom(kept, infos[0]?.id ?? '', real.hostId)
    assert.ok(fromSeed >= length && fromSeed <= peersCount * length, String(fromSeed))
    facts.origin(served)
    facts.note(`ours: 8 × peers ${length}, of it ${fromSeed} from the seed`)
    facts.note(`seed: uploaded ${(await real.uploaded()) - uploaded}`)
  })
}

matrixTest(
  5,
  'eight peers of ours that come later have it from the real seed',
  async (t, facts) => {
    const served = await origin(t, { length, seed: 52 })
    const first = await site.peer(t)
    assert.deepEqual((await fetchVerified(first, served)).traffic, allFromPeers)
    await first.destroy()
    const peers = await startPeers(t)
    const infos = await facts.time(() =>
      Promise.all(peers.map(async (peer) => fetchVerified(peer, served, 'never'))),
    )
    for (const { traffic } of infos) assert.deepEqual(traffic, allFromPeers)
    assert.equal(contentBytes(served), length)
    facts.origin(served)
    facts.note(`ours: 9 × peers ${length}`)
  },
)

const allFromPeers: TaskInfo['traffic'] = { source: 0, peers: length, local: 0 }

async function startPeers(t: Ending): Promise<Peer[]> {
  return Promise.all(Array.from({ length: peersCount }, async () => site.peer(t)))
}

async function fetchVerified(
  peer: Peer,
  served: Origin,
  backToSource: 'allow' | 'never' = 'allow',
): Promise<TaskInfo> {
  const path = site.path('output')
  const info = await peer.download(served.url, { backToSource }).toFile(path)
  await verifyFile(path, served.content)
  return info
}

import assert from 'node:assert/strict'
import { before } from 'node:test'
import { createClient } from '@connectrpc/connect'
import type { Peer } from '../../src/index.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { contentBytes } from '../e2e/support/swarm.ts'
import { cleanup } from '../support/cleanup.ts'
import { origin } from '../support/origin.ts'
import { verifyFile } from '../support/verify.ts'
import { fetchWithDfget, taskIdOf } from './support/fetch.ts'
import { fileEnding } from './support/file-ending.ts'
import { bytesServed, heard } from './support/hooks.ts'
import { matrixTest } from './support/matrix.ts'
import { Site } from './support/site.ts'

/** Nine pieces of 4 MiB and a short one. */
const length = 9 * (4 << 20) + 123_457

const ending = fileEnding()
let site: Site
let seed: Peer

before(async () => {
  site = await Site.start(ending, { daemons: 5 })
  seed = await site.peer(ending, { seedPeer: true })
  await site.scheduler.untilSeedsAreKnown()
})

matrixTest(4, 'the first download of a real daemon triggers our seed', async (t, facts) => {
  const daemon = site.daemon(0)
  const served = await origin(t, { length, seed: 41 })
  const task = taskIdOf(served.url)
  const started = heard(t, 'dragonfly-peer:task:started')
  const given = heard(t, 'dragonfly-peer:piece:served')
  const traffic = await facts.time(() => fetchWithDfget(t, daemon, served))
  assert.deepEqual(traffic, { source: 0, peers: length, local: 0 })
  assert.deepEqual(
    started.map((each) => each.task),
    [task],
  )
  assert.equal(bytesServed(given, task), length)
  assertParents(daemon.pieces(task))
  assert.equal(contentBytes(served), length)
  facts.origin(served)
  facts.traffic('real', traffic)
})

matrixTest(4, 'four real daemons at once, from a slow origin by our seed', async (t, facts) => {
  const daemons = site.daemons.slice(0, 4)
  const served = await origin(t, { length, seed: 42, bytesPerSecond: 1_500_000 })
  const started = heard(t, 'dragonfly-peer:task:started')
  const given = heard(t, 'dragonfly-peer:piece:served')
  const all = await facts.time(() =>
    Promise.all(daemons.map(async (daemon) => fetchWithDfget(t, daemon, served))),
  )
  for (const traffic of all) assert.deepEqual(traffic, { source: 0, peers: length, local: 0 })
  assert.equal(started.length, 1)
  assert.equal(contentBytes(served), length)
  facts.origin(served)
  for (const traffic of all) facts.traffic('real', traffic)
  facts.note(`our seed gave ${bytesServed(given, taskIdOf(served.url))}`)
})

matrixTest(4, 'a real daemon that comes later is served from our seed', async (t, facts) => {
  const served = await origin(t, { length, seed: 43 })
  await fetchWithDfget(t, site.daemon(0), served)
  const late = site.daemon(4)
  const traffic = await facts.time(() => fetchWithDfget(t, late, served, { backToSource: false }))
  assert.deepEqual(traffic, { source: 0, peers: length, local: 0 })
  assert.equal(contentBytes(served), length)
  facts.origin(served)
  facts.traffic('real', traffic)
})

matrixTest(4, 'our seed gets the headers that the real daemon was given', async (t, facts) => {
  const served = await origin(t, {
    length,
    seed: 44,
    answer: ({ headers }) =>
      headers['x-ticket'] === 'abc' ? undefined : { is: 'status', status: 403 },
  })
  const started = heard(t, 'dragonfly-peer:task:started')
  const traffic = await facts.time(() =>
    fetchWithDfget(t, site.daemon(1), served, { args: ['-H', 'x-ticket: abc'] }),
  )
  assert.deepEqual(traffic, { source: 0, peers: length, local: 0 })
  assert.equal(started.length, 1)
  assert.equal(contentBytes(served), length)
  facts.origin(served)
  facts.traffic('real', traffic)
})

matrixTest(
  4,
  'our seed is triggered by a daemon that may not go to the origin',
  async (t, facts) => {
    const served = await origin(t, { length, seed: 46 })
    const traffic = await facts.time(() =>
      fetchWithDfget(t, site.daemon(2), served, { backToSource: false }),
    )
    assert.deepEqual(traffic, { source: 0, peers: length, local: 0 })
    assert.equal(contentBytes(served), length)
    facts.origin(served)
    facts.traffic('real', traffic)
  },
)

matrixTest(
  4,
  'our seed is triggered for what it has already, and becomes known',
  async (t, facts) => {
    const served = await origin(t, { length, seed: 47 })
    const { id: taskId } = await seed.download(served.url).done
    const readBefore = served.counts.bytes
    const channel = openChannel({ address: site.scheduler.address })
    cleanup(t, () => channel.close())
    const client = createClient(Scheduler, channel)
    const names = { hostId: seed.hostId, taskId }
    // A download does not wait until the scheduler has heard of its end.
    while ((await client.statTask(names)).state !== 'Succeeded') continue
    // The scheduler forgets it, and our seed does not hear of that.
    await client.deleteTask(names)
    const traffic = await facts.time(() =>
      fetchWithDfget(t, site.daemon(3), served, { backToSource: false }),
    )
    assert.deepEqual(traffic, { source: 0, peers: length, local: 0 })
    // A question for the length takes a byte.
    assert.ok(served.counts.bytes - readBefore < 100, `${served.counts.bytes - readBefore}`)
    facts.origin(served)
    facts.traffic('real', traffic)
  },
)

matrixTest(4, 'our peers and real daemons together, by our seed', async (t, facts) => {
  const served = await origin(t, { length, seed: 45 })
  const peers = await Promise.all([0, 1, 2].map(async () => site.peer(t)))
  const ours = peers.map(async (peer) => {
    const path = site.path('output')
    const info = await peer.download(served.url).toFile(path)
    await verifyFile(path, served.content)
    return info.traffic
  })
  const real = site.daemons.slice(0, 3).map(async (each) => fetchWithDfget(t, each, served))
  const all = await facts.time(() => Promise.all([...ours, ...real]))
  for (const traffic of all) assert.deepEqual(traffic, { source: 0, peers: length, local: 0 })
  assert.equal(contentBytes(served), length)
  facts.origin(served)
  all.forEach((traffic, at) => facts.traffic(at < 3 ? 'ours' : 'real', traffic))
})

/** Every piece came from the seed. */
function assertParents(pieces: readonly { readonly parent: string }[]): void {
  const stem = seed.hostId.replace(/-seed$/, '')
  assert.equal(pieces.length, Math.ceil(length / (4 << 20)))
  for (const { parent } of pieces) assert.ok(parent.startsWith(`${stem}-`), parent)
}

import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import type { TestContext } from 'node:test'
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect'
import { ringOwner } from '../../src/hash/ring.ts'
import { Peer, type PeerOptions, type TaskInfo } from '../../src/index.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import { DfdaemonUpload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { contentBytes } from '../e2e/support/swarm.ts'
import { cleanup } from '../support/cleanup.ts'
import { type Origin, origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyFile } from '../support/verify.ts'
import { DaemonProgram } from './support/daemon-program.ts'
import { eventually } from './support/eventually.ts'
import { fetchWithDfget, taskIdOf } from './support/fetch.ts'
import { bytesFrom, heard } from './support/hooks.ts'
import { matrixTest } from './support/matrix.ts'
import { SchedulerProgram } from './support/scheduler-program.ts'
import { Site } from './support/site.ts'

/** Nine pieces of 4 MiB and a short one. */
const length = 9 * (4 << 20) + 123_457
const fromPeers = { source: 0, peers: length, local: 0 }
/** So that a download lasts about five seconds, and there is a middle. */
const slowly: PeerOptions = { limits: { downloadBytesPerSecond: 8_000_000 } }
/** Hosts are announced every 30 s; a scheduler that lost its memory knows everything again by then. */
const announcedAgainMs = 45_000

for (const [how, end] of [
  ['stopped', (scheduler: SchedulerProgram) => scheduler.program.stop()],
  ['killed', (scheduler: SchedulerProgram) => scheduler.program.kill()],
] as const) {
  matrixTest(11, `the scheduler is ${how} and comes back while we download`, async (t, facts) => {
    const site = await Site.start(t, { daemons: 2 })
    const [first, late] = site.daemons as [DaemonProgram, DaemonProgram]
    const served = await origin(t, { length, seed: 111 })
    await fetchWithDfget(t, first, served)
    const peer = await site.peer(t, slowly)
    const info = await facts.time(() =>
      fetchMeanwhile(t, peer, served, async () => {
        await end(site.scheduler)
        await site.scheduler.restart()
      }),
    )
    assert.deepEqual(info.traffic, fromPeers)
    // From here on only our peer has it, and only its announcement can tell.
    await first.program.kill()
    const took = await untilKnown(t, site.scheduler, peer, info.id)
    const other = await site.peer(t)
    const found = await fetchMeanwhile(t, other, served)
    assert.deepEqual(found.traffic, fromPeers)
    await untilMet(t, site.scheduler, late)
    assert.deepEqual(await fetchWithDfget(t, late, served), fromPeers)
    assert.equal(contentBytes(served), length)
    facts.origin(served)
    facts.traffic('ours', info.traffic)
    facts.note(`then found by another of ours and a real daemon; announced again in ${took} ms`)
  })
}

matrixTest(11, 'the scheduler restarts while we only keep what we have', async (t, facts) => {
  const site = await Site.start(t, { daemons: 1 })
  const served = await origin(t, { length, seed: 112 })
  const peer = await site.peer(t)
  const { id } = await fetchMeanwhile(t, peer, served)
  await site.scheduler.program.kill()
  await site.scheduler.restart()
  const took = await untilKnown(t, site.scheduler, peer, id)
  const other = await site.peer(t)
  assert.deepEqual((await fetchMeanwhile(t, other, served)).traffic, fromPeers)
  await untilMet(t, site.scheduler, site.daemon(0))
  assert.deepEqual(await fetchWithDfget(t, site.daemon(0), served), fromPeers)
  assert.equal(contentBytes(served), length)
  facts.took(took)
  facts.origin(served)
  facts.note('found by another of ours and a real daemon')
})

matrixTest(11, 'one of two schedulers dies while we download', async (t, facts) => {
  const schedulers = await Promise.all([SchedulerProgram.start(t), SchedulerProgram.start(t)])
  const addresses = schedulers.map(({ address }) => address)
  const [first, late] = (await Promise.all(
    [0, 1].map(async () => DaemonProgram.start(t, { schedulers: addresses })),
  )) as [DaemonProgram, DaemonProgram]
  const served = await origin(t, { length, seed: 113 })
  const owner = ringOwner(addresses, taskIdOf(served.url))
  const [dies, stays] = addresses[0] === owner ? schedulers : schedulers.toReversed()
  assert.ok(dies !== undefined && stays !== undefined)
  await fetchWithDfget(t, first, served)
  const start = async (options: PeerOptions = {}): Promise<Peer> =>
    startPeer(t, { scheduler: addresses, ...options })
  const peer = await start(slowly)
  const other = await start()
  const info = await facts.time(() =>
    fetchMeanwhile(t, peer, served, async () => void (await dies.program.kill())),
  )
  assert.deepEqual(info.traffic, fromPeers)
  await first.program.kill()
  const took = await untilKnown(t, stays, peer, info.id)
  assert.deepEqual((await fetchMeanwhile(t, other, served)).traffic, fromPeers)
  // It looks every two seconds here, and names the hosts of those that answer.
  const only = /refresh available scheduler addresses: \["127\.0\.0\.1"\]/
  await late.program.until('uses the other scheduler', () => only.test(late.program.log()))
  assert.deepEqual(await fetchWithDfget(t, late, served), fromPeers)
  assert.equal(contentBytes(served), length)
  facts.origin(served)
  facts.traffic('ours', info.traffic)
  facts.note(`told to the other scheduler in ${took} ms, found by one of ours and a real daemon`)
})

matrixTest(11, 'one of two schedulers is dead from the start', async (t, facts) => {
  const scheduler = await SchedulerProgram.start(t)
  const gone = await SchedulerProgram.start(t)
  await gone.program.kill()
  const addresses = [scheduler.address, gone.address]
  // One content for each of them: the next one on the ring stands in for the dead one.
  for (const owner of addresses) {
    const served = await origin(t, { length: 5_000_000, seed: 114 })
    const tag = tagOwnedBy(owner, addresses, served.url)
    const one = await startPeer(t, { scheduler: addresses })
    const two = await startPeer(t, { scheduler: addresses })
    const info = await one.download(served.url, { tag }).done
    assert.equal(info.traffic.source, 5_000_000)
    const found = await facts.time(() => two.download(served.url, { tag }).done)
    assert.equal(found.traffic.peers, 5_000_000)
    assert.equal(contentBytes(served), 5_000_000)
    facts.origin(served)
  }
  facts.note('ours: source 5000000; ours: peers 5000000')
})

matrixTest(11, 'one of two real parents is killed in the middle', async (t, facts) => {
  const site = await Site.start(t, { daemons: 2 })
  const served = await origin(t, { length, seed: 115 })
  for (const daemon of site.daemons) await fetchWithDfget(t, daemon, served)
  const kept = heard(t, 'dragonfly-peer:piece:kept')
  const task = taskIdOf(served.url)
  const given = ({ hostId }: DaemonProgram): number => bytesFrom(kept, task, hostId)
  const peer = await site.peer(t, slowly)
  let killed: DaemonProgram | undefined
  const start = performance.now()
  const info = await facts.time(() =>
    fetchMeanwhile(t, peer, served, async () => {
      // The one that is in use: the other one may not even be known yet.
      killed = site.daemons.toSorted((one, other) => given(other) - given(one))[0]
      await killed?.program.kill()
    }),
  )
  assert.deepEqual(info.traffic, fromPeers)
  assert.ok(performance.now() - start < 20_000)
  assert.equal(contentBytes(served), length)
  assert.ok(killed !== undefined && given(killed) > 0)
  facts.origin(served)
  facts.traffic('ours', info.traffic)
  facts.note(`${given(killed)} from the killed one, ${length - given(killed)} from the other`)
})

matrixTest(11, 'the only real parent is killed in the middle', async (t, facts) => {
  const site = await Site.start(t, { daemons: 1 })
  const served = await origin(t, { length, seed: 116 })
  await fetchWithDfget(t, site.daemon(0), served)
  const peer = await site.peer(t, slowly)
  const start = performance.now()
  const info = await facts.time(() =>
    fetchMeanwhile(t, peer, served, async () => void (await site.daemon(0).program.kill())),
  )
  const { source, peers } = info.traffic
  assert.equal(source + peers, length)
  assert.ok(source > 0 && peers > 0, `${source} and ${peers}`)
  // Five seconds for the bytes, and what it takes to notice and to ask somebody else.
  assert.ok(performance.now() - start < 20_000)
  assert.equal(contentBytes(served), length + source)
  facts.origin(served)
  facts.traffic('ours', info.traffic)
})

for (const [where, backToSource] of [
  ['with the origin', 'allow'],
  ['without the origin', 'never'],
] as const) {
  matrixTest(11, `a real parent says RESOURCE_EXHAUSTED, ${where}`, async (t, facts) => {
    // One request in a second, and one that may wait.
    const server = { requestRateLimit: 1, requestBufferSize: 1 }
    const site = await Site.start(t, { daemons: [{ config: { upload: { server } } }] })
    const busy = site.daemon(0)
    const served = await origin(t, { length, seed: 117 })
    await fetchWithDfget(t, busy, served)
    const peers = await Promise.all([0, 1, 2].map(async () => site.peer(t)))
    const flood = new AbortController()
    const refusals = floodUntil(busy, flood.signal)
    let failures = 0
    const fetch = async (peer: Peer): Promise<TaskInfo> =>
      fetchMeanwhile(
        t,
        peer,
        served,
        async () => {
          failures += failuresOf(peer, busy)
        },
        backToSource,
      )
    const infos = await facts.time(() => Promise.all(peers.map(fetch)))
    flood.abort()
    for (const { traffic } of infos) assert.equal(traffic.source + traffic.peers, length)
    if (backToSource === 'never') {
      for (const { traffic } of infos) assert.deepEqual(traffic, fromPeers)
      assert.equal(contentBytes(served), length)
    }
    const refused = await refusals
    assert.ok(refused > 0 && failures > 0, `${refused} and ${failures}`)
    facts.origin(served)
    for (const { traffic } of infos) facts.traffic('ours', traffic)
    facts.note(`the daemon refused ours ${failures} times, and ${refused} other calls`)
  })
}

matrixTest(11, 'a scheduler and a daemon give signs of life as often as asked', async (t) => {
  const site = await Site.start(t, { daemons: 1 })
  for (const { address } of [site.scheduler, ...site.daemons]) {
    const channel = openChannel({ address })
    cleanup(t, () => channel.close())
    let lost = 0
    channel.onLost?.(() => lost++)
    for (let asked = 0; asked < 200; asked++) await channel.ping?.()
    assert.equal(lost, 0)
  }
})

/** A peer in this process for schedulers that no site has. */
async function startPeer(t: TestContext, options: PeerOptions): Promise<Peer> {
  const peer = await Peer.start({ store: { dir: tempFolder(t) }, ...options })
  cleanup(t, () => peer.destroy())
  return peer
}

/** Downloads, does something when a quarter is there, and compares every byte. */
async function fetchMeanwhile(
  t: TestContext,
  peer: Peer,
  served: Origin,
  meanwhile?: () => Promise<void>,
  backToSource: 'allow' | 'never' = 'allow',
): Promise<TaskInfo> {
  const path = `${tempFolder(t)}/output`
  let done: Promise<void> | undefined
  const download = peer.download(served.url, {
    backToSource,
    onProgress: ({ bytes }) => {
      if (bytes > length / 4) done ??= meanwhile?.()
    },
  })
  const info = await download.toFile(path)
  if (meanwhile !== undefined) assert.ok(done !== undefined)
  await done
  await verifyFile(path, served.content)
  await rm(path)
  return info
}

/** Waits until a scheduler knows a task that a host has. Gives the milliseconds. */
async function untilKnown(
  t: TestContext,
  scheduler: SchedulerProgram,
  { hostId }: Peer,
  taskId: string,
): Promise<number> {
  const client = clientOf(t, scheduler)
  const start = performance.now()
  const look = async (): Promise<boolean> => {
    try {
      await client.statTask({ hostId, taskId }, { timeoutMs: 2000 })
      return true
    } catch (error) {
      if (ConnectError.from(error).code !== Code.NotFound) throw error
      return false
    }
  }
  await eventually('the scheduler knows the task', look, { timeoutMs: announcedAgainMs })
  return Math.round(performance.now() - start)
}

/** Waits until a scheduler knows a daemon: before that a daemon gets no answer but NotFound from it, and goes to the origin. */
async function untilMet(
  t: TestContext,
  scheduler: SchedulerProgram,
  { hostId }: DaemonProgram,
): Promise<void> {
  const client = clientOf(t, scheduler)
  await eventually('the scheduler knows the daemon', async () => {
    const { hosts } = await client.listHosts({}, { timeoutMs: 2000 })
    return hosts.some(({ id }) => id === hostId)
  })
}

function clientOf(t: TestContext, { address }: SchedulerProgram): Client<typeof Scheduler> {
  const channel = openChannel({ address })
  cleanup(t, () => channel.close())
  return createClient(Scheduler, channel)
}

/** A tag with which a URL is a task of this scheduler. */
function tagOwnedBy(owner: string, addresses: readonly string[], url: string): string {
  for (let tag = 0; tag < 1000; tag += 1) {
    if (ringOwner(addresses, taskIdOf(url, { tag: String(tag) })) === owner) return String(tag)
  }
  throw new Error(`No tag of a thousand leads to ${owner}`)
}

/** How often a daemon failed as a parent in the download that runs in a peer. */
function failuresOf(peer: Peer, { hostId }: DaemonProgram): number {
  const { tasks } = peer.explain() as {
    tasks: readonly { parents: readonly { id: string; failures: number }[] }[]
  }
  return tasks
    .flatMap(({ parents }) => parents)
    .filter(({ id }) => id.startsWith(`${hostId}-`))
    .reduce((sum, { failures }) => sum + failures, 0)
}

/** Keeps a daemon's request limit used up. Gives how many calls it refused with RESOURCE_EXHAUSTED. */
async function floodUntil({ address }: DaemonProgram, signal: AbortSignal): Promise<number> {
  const channel = openChannel({ address })
  const client = createClient(DfdaemonUpload, channel)
  let refused = 0
  const call = async (): Promise<void> => {
    try {
      await client.statLocalTask({ taskId: '0'.repeat(64) }, { signal })
    } catch (error) {
      if (ConnectError.from(error).code === Code.ResourceExhausted) refused += 1
    }
  }
  try {
    while (!signal.aborted) {
      await Promise.all(Array.from({ length: 4 }, call))
      await new Promise<void>((resolve) => {
        setTimeout(resolve, 50)
      })
    }
    return refused
  } finally {
    channel.close()
  }
}

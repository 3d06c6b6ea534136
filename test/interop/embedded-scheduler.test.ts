import assert from 'node:assert/strict'
import { before } from 'node:test'
import { Peer } from '../../src/index.ts'
import { contentBytes } from '../e2e/support/swarm.ts'
import { cleanup, type Ending } from '../support/cleanup.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyFile } from '../support/verify.ts'
import { DaemonProgram, type DaemonProgramOptions } from './support/daemon-program.ts'
import { eventually } from './support/eventually.ts'
import { fetchWithDfget, taskIdOf } from './support/fetch.ts'
import { fileEnding } from './support/file-ending.ts'
import { bytesServed, heard } from './support/hooks.ts'
import { matrixTest } from './support/matrix.ts'
import { serves } from './support/health.ts'
import { dfctl, dfget } from './support/tool.ts'

/** Nine pieces of 4 MiB and a short one. */
const length = 9 * (4 << 20) + 123_457
/** All that the whole content can come to. */
const fromPeers = { source: 0, peers: length, local: 0 }

const ending = fileEnding()
let scheduling: Peer
let seed: DaemonProgram
let daemons: readonly DaemonProgram[]

before(async () => {
  scheduling = await startPeer(ending)
  ;[seed, ...daemons] = (await startDaemons(ending, scheduling, [
    { seed: true },
    {},
    {},
    {},
    {},
  ])) as [DaemonProgram, ...DaemonProgram[]]
})

matrixTest(
  9,
  'our scheduler sends a real seed to the origin for a real daemon',
  async (t, facts) => {
    const [daemon] = daemons as [DaemonProgram]
    const served = await origin(t, { length, seed: 91 })
    const atFirst = await seed.traffic()
    const traffic = await facts.time(() => fetchWithDfget(t, daemon, served))
    assert.deepEqual(traffic, fromPeers)
    assert.equal((await seed.traffic()).source - atFirst.source, length)
    assert.equal(contentBytes(served), length)
    await assertQuiet(scheduling, [seed, ...daemons])
    facts.origin(served)
    facts.traffic('real', traffic)
  },
)

matrixTest(9, 'four real daemons at once, a slow origin', async (t, facts) => {
  const served = await origin(t, { length, seed: 92, bytesPerSecond: 1_500_000 })
  const all = await facts.time(() =>
    Promise.all(daemons.map(async (daemon) => fetchWithDfget(t, daemon, served))),
  )
  for (const traffic of all) assert.deepEqual(traffic, fromPeers)
  assert.equal(contentBytes(served), length)
  await assertQuiet(scheduling, [seed, ...daemons])
  facts.origin(served)
  for (const traffic of all) facts.traffic('real', traffic)
})

matrixTest(
  9,
  'a second download, and one after a restart, are from the cache',
  async (t, facts) => {
    const [daemon, other] = daemons as [DaemonProgram, DaemonProgram]
    const served = await origin(t, { length, seed: 93 })
    assert.deepEqual(await fetchWithDfget(t, daemon, served), fromPeers)
    const again = await facts.time(() => fetchWithDfget(t, daemon, served, { backToSource: false }))
    assert.deepEqual({ source: again.source, peers: again.peers }, { source: 0, peers: 0 })
    await daemon.restart()
    const restarted = await fetchWithDfget(t, daemon, served, { backToSource: false })
    assert.deepEqual({ source: restarted.source, peers: restarted.peers }, { source: 0, peers: 0 })
    const fresh = await origin(t, { length, seed: 94 })
    assert.deepEqual(await fetchWithDfget(t, daemon, fresh), fromPeers)
    assert.deepEqual(await fetchWithDfget(t, other, fresh, { backToSource: false }), fromPeers)
    assert.equal(contentBytes(served), length)
    assert.equal(contentBytes(fresh), length)
    await assertQuiet(scheduling, [seed, ...daemons])
    facts.origin(served)
    facts.traffic('again', again)
    facts.traffic('restarted', restarted)
  },
)

matrixTest(9, 'a real daemon that is killed in the middle, and the others', async (t, facts) => {
  const [victim, ...rest] = daemons as [DaemonProgram, ...DaemonProgram[]]
  const served = await origin(t, { length, seed: 95, bytesPerSecond: 1_500_000 })
  const output = `${tempFolder(t)}/output`
  const broken = dfget(t, victim.socketPath, served.url, { output })
  const others = rest.map(async (daemon) => fetchWithDfget(t, daemon, served))
  await served.until((each) => contentBytes(each) > length / 2)
  await victim.program.kill()
  assert.notEqual((await broken.result()).code, 0)
  const all = await facts.time(() => Promise.all(others))
  for (const traffic of all) assert.deepEqual(traffic, fromPeers)
  await victim.restart()
  // What it had before stays with it, the rest comes from others.
  const late = await fetchWithDfget(t, victim, served, { backToSource: false })
  assert.equal(late.source, 0)
  assert.equal(contentBytes(served), length)
  await assertQuiet(scheduling, [seed, ...daemons])
  facts.origin(served)
  for (const traffic of all) facts.traffic('real', traffic)
  facts.traffic('restarted', late)
})

matrixTest(9, 'preheating is refused, and the scheduler stays well', async (t, facts) => {
  const [daemon] = daemons as [DaemonProgram]
  const served = await origin(t, { length, seed: 96 })
  const scheduler = scheduling.schedulerAddress
  const args = ['task', 'preheat', '--scheduler-endpoint', `http://${scheduler}`, served.url]
  const result = await dfctl(t, args, tempFolder(t)).result()
  facts.took(result.tookMs)
  assert.notEqual(result.code, 0)
  assert.match(result.output, /Preheating needs a scheduler of its own/)
  assert.equal(served.requests.length, 0)
  assert.ok(await serves(scheduler))
  assert.deepEqual(await fetchWithDfget(t, daemon, served), fromPeers)
  assert.equal(contentBytes(served), length)
  facts.origin(served)
  facts.note('dfctl says why')
})

matrixTest(9, 'a daemon that may not go to the origin has it from a seed', async (t, facts) => {
  const [daemon] = daemons as [DaemonProgram]
  const served = await origin(t, { length, seed: 97 })
  const traffic = await facts.time(() => fetchWithDfget(t, daemon, served, { backToSource: false }))
  assert.deepEqual(traffic, fromPeers)
  assert.equal(contentBytes(served), length)
  await assertQuiet(scheduling, [seed, ...daemons])
  facts.origin(served)
  facts.traffic('real', traffic)
})

matrixTest(9, 'peers of ours and real daemons together', async (t, facts) => {
  const served = await origin(t, { length, seed: 98 })
  const peers = await Promise.all(
    [0, 1, 2].map(async () => startPeer(t, scheduling.schedulerAddress)),
  )
  const folder = tempFolder(t)
  const ours = peers.map(async (peer, at) => {
    const info = await peer.download(served.url).toFile(`${folder}/${at}`)
    await verifyFile(`${folder}/${at}`, served.content)
    return info.traffic
  })
  const real = daemons.map(async (daemon) => fetchWithDfget(t, daemon, served))
  const all = await facts.time(() => Promise.all([...ours, ...real]))
  for (const traffic of all) assert.deepEqual(traffic, fromPeers)
  assert.equal(contentBytes(served), length)
  await assertQuiet(scheduling, [seed, ...daemons])
  facts.origin(served)
  all.forEach((traffic, at) => facts.traffic(at < peers.length ? 'ours' : 'real', traffic))
})

matrixTest(9, 'a peer of ours is scheduler and seed of three real daemons', async (t, facts) => {
  const peer = await startPeer(t, 'embedded', true)
  const real = await startDaemons(t, peer, [{}, {}, {}])
  const served = await origin(t, { length, seed: 99 })
  const given = heard(t, 'dragonfly-peer:piece:served')
  const all = await facts.time(() =>
    Promise.all(real.map(async (daemon) => fetchWithDfget(t, daemon, served))),
  )
  for (const traffic of all) assert.deepEqual(traffic, fromPeers)
  assert.equal(contentBytes(served), length)
  await assertQuiet(peer, real)
  facts.origin(served)
  for (const traffic of all) facts.traffic('real', traffic)
  facts.note(`ours gave ${bytesServed(given, taskIdOf(served.url))}`)
})

matrixTest(9, 'no seed: of three real daemons one goes to the origin', async (t, facts) => {
  const peer = await startPeer(t)
  const real = await startDaemons(t, peer, [{}, {}, {}])
  const served = await origin(t, { length, seed: 100 })
  const all = await facts.time(() =>
    Promise.all(real.map(async (daemon) => fetchWithDfget(t, daemon, served))),
  )
  const sums = all.map(({ source, peers }) => source + peers)
  assert.deepEqual(sums, [length, length, length])
  assert.equal(contentBytes(served), length)
  await assertQuiet(peer, real)
  facts.origin(served)
  for (const traffic of all) facts.traffic('real', traffic)
})

matrixTest(9, 'no seed, and nobody may go to the origin: dfget fails at once', async (t, facts) => {
  const peer = await startPeer(t)
  const [daemon] = (await startDaemons(t, peer, [{}])) as [DaemonProgram]
  const served = await origin(t, { length, seed: 101 })
  const output = `${tempFolder(t)}/output`
  const result = await dfget(t, daemon.socketPath, served.url, {
    output,
    backToSource: false,
  }).result()
  facts.took(result.tookMs)
  assert.notEqual(result.code, 0)
  assert.ok(result.tookMs < 5000, `${result.tookMs} ms`)
  assert.equal(contentBytes(served), 0)
  await assertQuiet(peer, [daemon])
  facts.origin(served)
  facts.note('no traffic')
})

/** A peer of ours in this process. Without a scheduler it runs its own, on a port. */
async function startPeer(t: Ending, scheduler = 'embedded', seedPeer = false): Promise<Peer> {
  const peer = await Peer.start({ scheduler, seedPeer, store: { dir: tempFolder(t) } })
  cleanup(t, () => peer.destroy())
  return peer
}

async function startDaemons(
  t: Ending,
  { schedulerAddress }: Peer,
  options: readonly DaemonProgramOptions[],
): Promise<DaemonProgram[]> {
  return Promise.all(
    options.map(async (each) =>
      DaemonProgram.start(t, { schedulers: [schedulerAddress], ...each }),
    ),
  )
}

interface Scheduling {
  readonly calls: number
  readonly tasks: readonly {
    readonly seedsAsked: readonly string[]
    readonly waiting: readonly unknown[]
    readonly peers: readonly { readonly id: string; readonly is: string }[]
  }[]
}

/**
 * Nobody waits and nothing is open: in the scheduler every peer has come to an end and no call to a host runs; and the daemons count no download, which they do
 * until the scheduler has ended the stream of that download.
 */
async function assertQuiet(peer: Peer, real: readonly DaemonProgram[]): Promise<void> {
  let open: unknown
  const look = async (): Promise<boolean> => {
    const { calls, tasks } = peer.explain()['scheduling'] as Scheduling
    const restless = tasks.filter(
      ({ seedsAsked, waiting, peers }) =>
        seedsAsked.length > 0 ||
        waiting.length > 0 ||
        peers.some(({ is }) => is !== 'Succeeded' && is !== 'Failed'),
    )
    const running = await Promise.all(real.map(runningDownloads))
    open = { calls, restless, running }
    return calls === 0 && restless.length === 0 && running.every((count) => count === 0)
  }
  try {
    await eventually('Everything has ended', look, { timeoutMs: 10_000 })
  } catch (error) {
    throw new Error(`Still open: ${JSON.stringify(open)}`, { cause: error })
  }
}

/** Downloads of files that a daemon has under way, by its own count. */
async function runningDownloads(daemon: DaemonProgram): Promise<number> {
  const lines = (await daemon.metrics()).matchAll(/concurrent_download_task_total\{[^}]*\} (\d+)/g)
  return [...lines].reduce((sum, [, count]) => sum + Number(count), 0)
}

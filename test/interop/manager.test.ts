import assert from 'node:assert/strict'
import { before } from 'node:test'
import { Peer } from '../../src/index.ts'
import { contentBytes } from '../e2e/support/swarm.ts'
import { cleanup, type Ending } from '../support/cleanup.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyBytes, verifyFile } from '../support/verify.ts'
import { DaemonProgram } from './support/daemon-program.ts'
import { eventually } from './support/eventually.ts'
import { fileEnding } from './support/file-ending.ts'
import { ManagerProgram } from './support/manager-program.ts'
import { MariadbProgram } from './support/mariadb-program.ts'
import { matrixTest } from './support/matrix.ts'
import { RedisProgram } from './support/redis-program.ts'
import { SchedulerProgram } from './support/scheduler-program.ts'
import { dfget } from './support/tool.ts'

const mebibyte = 1024 * 1024
const ending = fileEnding()
let manager: ManagerProgram
let scheduler: SchedulerProgram
let seed = 700

before(async () => {
  const [mariadb, redis] = await Promise.all([
    MariadbProgram.start(ending),
    RedisProgram.start(ending),
  ])
  manager = await ManagerProgram.start(ending, { mariadb: mariadb.port, redis: redis.address })
  scheduler = await registered(ending, 'scheduler-one')
})

/** A scheduler that the manager knows. Two on one address would be one to the manager if they had the same name. */
async function registered(t: Ending, host: string): Promise<SchedulerProgram> {
  return SchedulerProgram.start(t, { manager: manager.address, config: { server: { host } } })
}

/** A peer of ours that knows the manager and nothing else. */
async function peerOf(t: Ending): Promise<Peer> {
  const options = { scheduler: { manager: manager.address }, store: { dir: tempFolder(t) } }
  const peer = await Peer.start(options)
  cleanup(t, () => peer.destroy())
  return peer
}

function schedulersOf(peer: Peer): readonly string[] {
  const { scheduling } = peer.explain() as { scheduling: { addresses: readonly string[] } }
  return scheduling.addresses
}

/** Waits until the peer talks to these schedulers and no others. */
async function follows(peer: Peer, ...wanted: readonly SchedulerProgram[]): Promise<void> {
  const addresses = wanted.map(({ address }) => address).toSorted()
  await eventually(
    `the peer uses ${addresses.join(' and ')}`,
    () => schedulersOf(peer).join() === addresses.join(),
    { timeoutMs: 90_000 },
  )
}

matrixTest(10, 'two peers of ours find their scheduler through the manager', async (t, facts) => {
  const length = 21 * mebibyte
  const served = await origin(t, { length, seed: ++seed })
  const first = await peerOf(t)
  await follows(first, scheduler)
  await first.download(served.url).done
  const second = await peerOf(t)
  await follows(second, scheduler)
  const info = await facts.time(() => second.download(served.url).done)
  facts.origin(served)
  facts.traffic('ours', info.traffic)
  assert.deepEqual(info.traffic, { source: 0, peers: length, local: 0 })
})

matrixTest(
  10,
  'our peer and a real daemon that found the scheduler through the same manager exchange content both ways',
  async (t, facts) => {
    const length = 41 * mebibyte + 3
    const daemon = await DaemonProgram.start(t, { manager: manager.address })
    const peer = await peerOf(t)
    await follows(peer, scheduler)
    const down = await origin(t, { length, seed: ++seed })
    const first = `${tempFolder(t)}/first`
    await dfget(t, daemon.socketPath, down.url, { output: first }).done()
    const info = await facts.time(() => peer.download(down.url).done)
    facts.traffic('ours', info.traffic)
    assert.deepEqual(info.traffic, { source: 0, peers: length, local: 0 })
    verifyBytes(await peer.download(down.url).bytes(), down.content)
    const up = await origin(t, { length, seed: ++seed })
    await peer.download(up.url).done
    const output = `${tempFolder(t)}/second`
    const traffic = await daemon.traffic()
    await dfget(t, daemon.socketPath, up.url, { output }).done()
    await verifyFile(output, up.content)
    const now = await daemon.traffic()
    assert.equal(now.peers - traffic.peers, length)
    assert.equal(now.source - traffic.source, 0)
    assert.equal(contentBytes(up), length)
  },
)

matrixTest(10, 'our peer follows a change of schedulers at the manager', async (t, facts) => {
  const length = 21 * mebibyte
  const first = await peerOf(t)
  await follows(first, scheduler)
  const kept = await origin(t, { length, seed: ++seed })
  await first.download(kept.url).done
  const other = await registered(t, 'scheduler-two')
  const second = await peerOf(t)
  await follows(second, scheduler, other)
  await scheduler.program.stop()
  await follows(second, other)
  await follows(first, other)
  // What the first one holds was announced to the new scheduler, so nobody asks the origin again.
  const sent = contentBytes(kept)
  const info = await facts.time(() => second.download(kept.url).done)
  facts.traffic('ours', info.traffic)
  facts.origin(kept)
  assert.deepEqual(info.traffic, { source: 0, peers: length, local: 0 })
  assert.equal(contentBytes(kept), sent)
  const next = await origin(t, { length, seed: ++seed })
  await second.download(next.url).done
  assert.equal((await first.download(next.url).done).traffic.peers, length)
})

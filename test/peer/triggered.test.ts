import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { createClient } from '@connectrpc/connect'
import type { Peer } from '../../src/peer/peer.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import { Scheduler } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { cleanup } from '../support/cleanup.ts'
import { origin } from '../support/origin.ts'
import { verifyBytes } from '../support/verify.ts'
import { startPeer } from './start-peer.ts'

const length = 9 << 20

/** The scheduler of this peer forgets that a host has a task. The host does not hear of it. */
async function forget(t: TestContext, hub: Peer, hostId: string, taskId: string): Promise<void> {
  const channel = openChannel({ address: hub.schedulerAddress })
  cleanup(t, () => channel.close())
  await createClient(Scheduler, channel).deleteTask({ hostId, taskId })
}

for (const range of [undefined, { start: 0, length: 5 << 20 }]) {
  test(`DownloadTask of what lies here makes this host known as a parent${range === undefined ? '' : ', for a part too'}`, async (t) => {
    const from = await origin(t, { length })
    const hub = await startPeer(t)
    const scheduler = hub.schedulerAddress
    const seed = await startPeer(t, { scheduler, seedPeer: true })
    const { id } = await seed.download(from.url).done
    await forget(t, hub, seed.hostId, id)
    const before = from.counts.bytes
    const child = await startPeer(t, { scheduler })
    const begun = performance.now()
    const download = child.download(from.url, range === undefined ? {} : { range })
    const bytes = await download.bytes()
    const tookMs = Math.round(performance.now() - begun)
    assert.equal(bytes.length, range?.length ?? length)
    verifyBytes(bytes, from.content)
    const { source, peers } = (await download.done).traffic
    t.diagnostic(`${tookMs} ms, ${source} of the origin, ${peers} of the seed`)
    assert.equal(source, 0)
    // A question for the length takes a byte.
    assert.ok(from.counts.bytes - before < 100, `${from.counts.bytes - before}`)
    const late = await startPeer(t, { scheduler })
    const { traffic } = await late.download(from.url).done
    assert.equal(traffic.peers, length)
  })
}

test('DownloadTask of a part that lies here makes this host known as a parent of that part', async (t) => {
  const from = await origin(t, { length })
  const hub = await startPeer(t)
  const scheduler = hub.schedulerAddress
  const seed = await startPeer(t, { scheduler, seedPeer: true })
  const { id } = await seed.download(from.url, { range: { start: 0, length: 8 << 20 } }).done
  await forget(t, hub, seed.hostId, id)
  const before = from.counts.bytes
  for (const range of [
    { start: 5, length: 5 << 20 },
    { start: 6 << 20, length: 1 << 20 },
  ]) {
    const child = await startPeer(t, { scheduler })
    const begun = performance.now()
    const download = child.download(from.url, { range })
    const bytes = await download.bytes()
    t.diagnostic(`${Math.round(performance.now() - begun)} ms`)
    assert.equal(bytes.length, range.length)
    verifyBytes(bytes, from.content, range.start)
    assert.equal((await download.done).traffic.source, 0)
    // A question for the length takes a byte.
    assert.ok(from.counts.bytes - before < 100, `${from.counts.bytes - before}`)
  }
  const late = await startPeer(t, { scheduler })
  const { source, peers } = (await late.download(from.url).done).traffic
  assert.equal(source + peers, length)
})

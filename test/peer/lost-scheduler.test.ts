import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { openChannel } from '../../src/rpc/channel.ts'
import { DfdaemonUpload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import type { AnnouncePeerRequest } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { cleanup } from '../support/cleanup.ts'
import { origin } from '../support/origin.ts'
import { ScriptedScheduler } from './scripted-scheduler.ts'
import { startPeer, waitFor } from './start-peer.ts'

const mib = 1024 * 1024

/** The registrations among what a scheduler was told. */
function registrations({ said }: ScriptedScheduler) {
  return said.flatMap(({ request }) =>
    request.case === 'registerPeerRequest' ? [request.value.download] : [],
  )
}

for (const breaks of [true, false]) {
  test(`Peer announces what it keeps after a download ${breaks ? 'only when' : 'not unless'} the scheduler's stream broke`, async (t) => {
    let streams = 0
    const scheduler = await ScriptedScheduler.start(t, {
      async *announcePeer(requests: AsyncIterable<AnnouncePeerRequest>) {
        const first = streams++ === 0
        for await (const { request } of requests) {
          if (request.case === 'registerPeerRequest') {
            yield first
              ? { response: { case: 'needBackToSourceResponse' as const, value: {} } }
              : { response: { case: 'metadataOnlyResponse' as const, value: {} } }
          }
          if (first && breaks && request.case === 'downloadPieceBackToSourceFinishedRequest') {
            throw new ConnectError('It does not like that', Code.Internal)
          }
          if (/Peer(BackToSource)?Finished/.test(request.case ?? '')) return
        }
      },
    })
    const peer = await startPeer(t, { scheduler: scheduler.address })
    // The short piece comes, and with it the break, long before the other one.
    const from = await origin(t, { length: 5 * mib, seed: 3, bytesPerSecond: 6 * mib })
    await peer.download(from.url).done
    if (breaks) await waitFor(() => registrations(scheduler).length === 2)
    await peer.close()
    const held = registrations(scheduler).map((download) => download?.metadataOnly)
    assert.deepEqual(held, breaks ? [false, true] : [false])
  })
}

test('DownloadTask with an order to go to the origin holds although the asker shall not go there', async (t) => {
  const from = await origin(t, { length: 5 * mib, seed: 4 })
  const peer = await startPeer(t, { limits: { parentsTimeoutMs: 200 } })
  const channel = openChannel({ address: peer.address })
  cleanup(t, () => channel.close())
  const client = createClient(DfdaemonUpload, channel)
  const order = async (needBackToSource: boolean): Promise<void> => {
    const download = { url: from.url, needBackToSource, disableBackToSource: true }
    for await (const _ of client.downloadTask({ download })) continue
  }
  await assert.rejects(order(false))
  assert.equal(from.counts.full + from.counts.ranged, 0)
  await order(true)
  assert.equal((await peer.download(from.url).done).traffic.local, 5 * mib)
})

for (const asked of ['scheduler', 'manager']) {
  test(`Peer.start() and a download wait only some seconds for a ${asked} that takes connections and says nothing`, async (t) => {
    const sockets = new Set<Socket>()
    const mute = createServer((socket) => sockets.add(socket.on('error', () => undefined)))
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
    cleanup(t, () => {
      for (const socket of sockets) socket.destroy()
      mute.close()
    })
    const { port } = mute.address() as { readonly port: number }
    const from = await origin(t, { length: mib })
    const begun = performance.now()
    const address = `127.0.0.1:${port}`
    const peer = await startPeer(t, {
      scheduler: asked === 'manager' ? { manager: address } : address,
    })
    const started = performance.now()
    assert.equal((await peer.download(from.url).done).traffic.source, mib)
    const times = [started - begun, performance.now() - started].map(Math.round)
    t.diagnostic(`${times.join(' and ')} ms`)
    for (const tookMs of times) assert.ok(tookMs < 7000, `${tookMs} ms`)
  })
}

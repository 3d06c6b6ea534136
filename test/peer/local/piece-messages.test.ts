import assert from 'node:assert/strict'
import { connect } from 'node:http2'
import { once } from 'node:events'
import { test } from 'node:test'
import { DownloadTaskRequestSchema } from '../../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { TransferMemory } from '../../../src/peer/local/transfer-memory.ts'
import { KeptBefore, pieceMessages } from '../../../src/peer/local/piece-messages.ts'
import type { Opened } from '../../../src/peer/tasks.ts'
import { MemoryStore } from '../../../src/storage/memory-store.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { Content } from '../../support/content.ts'
import { cleanup } from '../../support/cleanup.ts'
import { origin } from '../../support/origin.ts'
import { envelope } from '../../rpc/wire.ts'
import { bytesOf, download, localPeer } from './local-peer.ts'

const mib = 1024 * 1024
const never = new AbortController().signal

test('pieceMessages() reads a piece only when the one before was taken, and gives its memory back', async (t) => {
  const store = new MemoryStore({ bytesMax: 100 * mib, ttlMs: 1e9, clock: systemClock })
  cleanup(t, () => store.close())
  const content = new Content(20 * mib)
  const spool = await store.spool()
  await spool.write(content.bytes())
  const task = await spool.finish({ id: 'a'.repeat(64), kind: 'standard', createdAt: 1 })
  let opened = 0
  const shelf: Opened['store'] = Object.create(store, {
    open: {
      value: async (...args: Parameters<MemoryStore['open']>) => {
        opened++
        return store.open(...args)
      },
    },
  })
  const spec = {
    id: task.record.id,
    kind: 'standard',
    filteredQueryParams: [],
    headers: {},
    priority: 6,
  } as const
  const memory = new TransferMemory(8 * mib)
  const before = new KeptBefore(task, 2)
  const telling = {
    opened: { spec, task, store: shelf, share: undefined },
    numbers: [0, 1, 2, 3, 4],
    ending: undefined,
    before,
    memory,
  }
  const pieces = pieceMessages(telling, never)
  for (let taken = 1; taken <= 3; taken++) {
    assert.equal((await pieces.next()).value?.number, taken - 1)
    assert.equal(opened, taken)
    assert.equal(memory.lentBytes, 4 * mib)
  }
  await pieces.return()
  assert.equal(memory.lentBytes, 0)
})

test('A tool that takes nothing holds up nobody else, and gets everything when it goes on', async (t) => {
  const from = await origin(t, { length: 24 * mib })
  const local = await localPeer(t)
  await local.peer.download(from.url).done
  const session = connect('http://localhost', { path: local.socketPath } as never)
  cleanup(t, () => session.destroy())
  await once(session, 'connect')
  const stalled = session.request({
    ':method': 'POST',
    ':path': '/dfdaemon.v2.DfdaemonDownload/DownloadTask',
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  const wish = { url: from.url, needPieceContent: true }
  stalled.end(envelope(DownloadTaskRequestSchema, { download: wish }))
  await once(stalled, 'response')
  const told = await download(local, { url: from.urlOf('/b'), needPieceContent: true })
  assert.equal(told.error, undefined)
  assert.equal(bytesOf(told).length, 24 * mib)
  const { socket } = local.peer.explain() as { socket: { calls: { download: number } } }
  assert.equal(socket.calls.download, 1)
  let received = 0
  for await (const chunk of stalled) received += (chunk as Buffer).length
  assert.ok(received > 24 * mib && received < 24 * mib + 4096, String(received))
})

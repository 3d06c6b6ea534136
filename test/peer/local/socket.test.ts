import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Code, createClient } from '@connectrpc/connect'
import { PeerError } from '../../../src/errors.ts'
import { Peer } from '../../../src/peer/peer.ts'
import { settings } from '../../../src/peer/settings.ts'
import { openChannel } from '../../../src/rpc/channel.ts'
import { Health } from '../../../src/rpc/gen/grpc/health/v1/health_pb.ts'
import { cleanup } from '../../support/cleanup.ts'
import { leaks } from '../../support/leaks.ts'
import { origin } from '../../support/origin.ts'
import { tempFolder } from '../../support/temp-folder.ts'
import { runsOf, startPeer, waitFor } from '../start-peer.ts'
import { download, localPeer, numbersOf } from './local-peer.ts'

const mib = 1024 * 1024

test('options.socketPath must be an absolute path that fits', () => {
  const bad: readonly unknown[] = ['', 'relative', './x', 5, null, '/a\0b', `/${'x'.repeat(107)}`]
  for (const socketPath of bad) {
    assert.throws(
      () => settings({ socketPath: socketPath as string }),
      (error) => error instanceof Error && /options\.socketPath/.test(error.message),
    )
  }
  assert.equal(settings({ socketPath: '/run/x.sock' }).socketPath, '/run/x.sock')
  assert.equal(settings({}).socketPath, undefined)
})

test('The socket is there while the peer is, for its user alone', async (t) => {
  leaks(t)
  for (const end of ['close', 'destroy'] as const) {
    const { peer, socketPath } = await localPeer(t)
    const facts = await stat(socketPath)
    assert.ok(facts.isSocket())
    assert.equal(facts.mode & 0o777, 0o600)
    assert.deepEqual((peer.explain() as { socket: unknown }).socket, {
      path: socketPath,
      calls: { download: 0, import: 0, question: 0 },
    })
    await peer[end]()
    assert.ok(!existsSync(socketPath))
  }
})

test('Peer.start() rejects with LISTEN_FAILED where a socket cannot be', async (t) => {
  leaks(t)
  const { folder, socketPath } = await localPeer(t)
  const file = join(folder, 'file')
  await writeFile(file, 'mine')
  for (const path of [join(folder, 'missing', 'x.sock'), socketPath, file]) {
    const store = { dir: tempFolder(t) }
    await assert.rejects(Peer.start({ socketPath: path, store }), (error) =>
      PeerError.is(error, 'LISTEN_FAILED'),
    )
  }
  assert.ok(existsSync(socketPath))
  assert.ok(existsSync(file))
})

test('Peer.start() replaces the socket of a process that died', async (t) => {
  const folder = tempFolder(t)
  const socketPath = join(folder, 'p.sock')
  const script = `require('net').createServer().listen(${JSON.stringify(socketPath)}, () => process.kill(process.pid, 'SIGKILL'))`
  spawnSync(process.execPath, ['-e', script])
  assert.ok((await stat(socketPath)).isSocket())
  await startPeer(t, { socketPath })
  assert.equal((await stat(socketPath)).mode & 0o777, 0o600)
})

test('The health service answers on the socket', async (t) => {
  const { socketPath } = await localPeer(t)
  const channel = openChannel({ address: `unix:${socketPath}` })
  cleanup(t, () => channel.close())
  const client = createClient(Health, channel)
  for (const service of ['', 'dfdaemon.v2.DfdaemonDownload']) {
    assert.equal((await client.check({ service })).status, 1)
  }
  await assert.rejects(client.check({ service: 'dfdaemon.v2.DfdaemonUpload' }), /Unknown service/)
})

test('Peer.close() lets downloads of tools end and takes no new ones', async (t) => {
  leaks(t)
  const from = await origin(t, { length: 9 * mib, bytesPerSecond: 8 * mib })
  const local = await localPeer(t)
  const outputPath = join(local.folder, 'out')
  const call = download(local, { url: from.url, outputPath })
  await waitFor(() => runsOf(local.peer).length === 1)
  const closed = local.peer.close()
  const late = await download(local, { url: from.urlOf('/late') })
  assert.equal(late.error?.code, Code.Unavailable)
  const told = await call
  assert.equal(told.error, undefined)
  assert.deepEqual(numbersOf(told).toSorted(), [0, 1, 2])
  assert.equal((await stat(outputPath)).size, 9 * mib)
  await closed
})

test('Peer.destroy() ends the calls of tools', async (t) => {
  leaks(t)
  const from = await origin(t, { length: 9 * mib, answer: () => ({ is: 'stall' }) })
  const local = await localPeer(t)
  const call = download(local, { url: from.url, outputPath: join(local.folder, 'out') })
  await waitFor(() => from.requests.length > 0)
  await local.peer.destroy()
  assert.notEqual((await call).error, undefined)
  assert.ok(!existsSync(join(local.folder, 'out')))
})

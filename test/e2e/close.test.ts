import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { Peer, PeerError } from '../../src/index.ts'
import { leaks } from '../support/leaks.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyBytes, verifyFile } from '../support/verify.ts'

test('Peer.close() leaves no handle, file, thread or timer behind after every kind of work', async (t) => {
  leaks(t)
  const folder = tempFolder(t)
  const served = await origin(t, { length: 9 * 1024 * 1024, seed: 31 })
  const peer = await Peer.start({ seedPeer: true, store: { dir: join(folder, 'a') } })
  const other = await Peer.start({
    scheduler: peer.schedulerAddress,
    store: { dir: join(folder, 'b') },
  })
  await other.download(served.url).toFile(join(folder, 'file'))
  await verifyFile(join(folder, 'file'), served.content)
  verifyBytes(await other.download(served.urlOf('/memory')).bytes(), served.content)
  const digest = `sha256:${served.content.sha256()}`
  await peer.download(served.urlOf('/digest'), { digest }).done
  let bytes = 0
  for await (const chunk of peer.download(served.urlOf('/left-early'))) {
    bytes += chunk.length
    if (bytes > 1_000_000) break
  }
  const task = await other.write(served.content.bytes(0, 5_000_000))
  assert.equal((await peer.download({ task: task.id }).bytes()).length, 5_000_000)
  const seeding = await peer.seed(join(folder, 'file'), { url: 'https://models.invalid/a' })
  await seeding.stop()
  await assert.rejects(other.download(served.url, { digest: 'crc32:1' }).bytes())
  await other.close()
  await peer.close()
  assert.deepEqual([peer.explain()['state'], other.explain()['state']], ['closed', 'closed'])
})

test('Peer.destroy() in the middle rejects with its reason and leaves nothing open', async (t) => {
  leaks(t)
  const folder = tempFolder(t)
  const served = await origin(t, {
    length: 30 * 1024 * 1024,
    seed: 32,
    bytesPerSecond: 4 * 1024 * 1024,
  })
  const peer = await Peer.start({ store: { dir: join(folder, 'a') } })
  const reason = new Error('Enough')
  const download = peer.download(served.url)
  const toFile = download.toFile(join(folder, 'file'))
  await served.until(({ counts }) => counts.bytes > 1024 * 1024)
  await Promise.all([assert.rejects(toFile, (error) => error === reason), peer.destroy(reason)])
  assert.equal(existsSync(join(folder, 'file')), false)
  assert.throws(
    () => peer.download(served.url),
    (error) => PeerError.is(error, 'CLOSED'),
  )
  await peer.close()
})

test('Peer.start() that fails leaves nothing open', async (t) => {
  leaks(t)
  const dir = join(tempFolder(t), 'a')
  const peer = await Peer.start({ store: { dir } })
  await assert.rejects(Peer.start({ store: { dir } }), (error) =>
    PeerError.is(error, 'STORE_LOCKED'),
  )
  const port = Number(peer.address.split(':').at(-1))
  await assert.rejects(Peer.start({ store: 'memory', listen: { port } }), (error) =>
    PeerError.is(error, 'LISTEN_FAILED'),
  )
  await peer.close()
  await peer.close()
})

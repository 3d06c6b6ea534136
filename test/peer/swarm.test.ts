import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import { Peer } from '../../src/peer/peer.ts'
import { Content } from '../support/content.ts'
import { leaks } from '../support/leaks.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyBytes, verifyFile } from '../support/verify.ts'
import { startPeer, waitFor } from './start-peer.ts'

const mib = 1024 * 1024

test('The first download goes to the origin, later peers take pieces from the others', async (t) => {
  leaks(t)
  const from = await origin(t, { length: 21 * mib })
  const first = await startPeer(t)
  const second = await startPeer(t, { scheduler: first.schedulerAddress })
  const third = await startPeer(t, { scheduler: first.schedulerAddress })
  await first.download(from.url).done
  const taken = await second.download(from.url).done
  assert.deepEqual(taken.traffic, { source: 0, peers: 21 * mib, local: 0 })
  const path = join(tempFolder(t), 'out')
  const info = await third.download(from.url).toFile(path)
  assert.equal(info.traffic.peers, 21 * mib)
  await verifyFile(path, from.content)
  assert.equal(from.counts.ranged, 6)
})

test('A seed peer is sent to the origin by the first download of another', async (t) => {
  const from = await origin(t, { length: 21 * mib })
  const seed = await startPeer(t, { seedPeer: true })
  const child = await startPeer(t, { scheduler: seed.schedulerAddress })
  const bytes = await child.download(from.url).bytes()
  verifyBytes(bytes, from.content)
  const info = await child.download(from.url).done
  assert.equal(info.length, 21 * mib)
  assert.equal(from.counts.ranged, 6)
  assert.ok(from.counts.bytes < 1.05 * 21 * mib)
})

for (const seedPeer of [true, false]) {
  const who = seedPeer ? 'a seed peer' : 'no seed peer'
  test(`Five peers that start together with ${who} cost the origin one copy`, async (t) => {
    const from = await origin(t, { length: 40 * mib })
    const first = await startPeer(t, { seedPeer })
    const others = await Promise.all(
      [1, 2, 3, 4].map(() => startPeer(t, { scheduler: first.schedulerAddress })),
    )
    const all = [first, ...others].map((peer) => peer.download(from.url).bytes())
    for (const bytes of await Promise.all(all)) verifyBytes(bytes, from.content)
    assert.ok(from.counts.bytes <= 1.05 * 40 * mib, `${from.counts.bytes} bytes from the origin`)
  })
}

test('Content of unknown length is spooled once and shared', async (t) => {
  const from = await origin(t, { length: 13 * mib, ranges: false, lengthKnown: false })
  const first = await startPeer(t)
  const others = await Promise.all(
    [1, 2].map(() => startPeer(t, { scheduler: first.schedulerAddress })),
  )
  const all = [first, ...others].map((peer) => peer.download(from.url).bytes())
  for (const bytes of await Promise.all(all)) {
    assert.equal(bytes.byteLength, 13 * mib)
    verifyBytes(bytes, from.content)
  }
  const whole = from.requests.filter(({ bytes }) => bytes >= 13 * mib)
  assert.equal(whole.length, 1)
})

test('Peer.write() puts bytes, a file and a stream into the network, and another peer reads them by id', async (t) => {
  leaks(t)
  const content = new Content(9 * mib + 1, 5)
  const bytes = content.bytes()
  const path = join(tempFolder(t), 'in')
  await writeFile(path, bytes)
  const writer = await startPeer(t)
  const reader = await startPeer(t, { scheduler: writer.schedulerAddress })
  const written = await writer.write(bytes, { replicas: 1 })
  assert.equal(written.kind, 'persistentCache')
  assert.equal(written.length, content.length)
  verifyBytes(await reader.download({ task: written.id }).bytes(), content)
  assert.equal((await writer.write(path, { replicas: 1 })).id, written.id, 'the id is the content')
  async function* stream(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000)
  }
  const other = await writer.write(stream(), { tag: 'other', replicas: 1 })
  assert.notEqual(other.id, written.id)
  const out = join(tempFolder(t), 'out')
  const info = await reader.download({ task: other.id }).toFile(out)
  await verifyFile(out, content)
  assert.equal(info.traffic.peers, content.length)
})

test('Peer.write() with two replicas survives the peer that wrote it', async (t) => {
  const content = new Content(5 * mib, 6)
  const keeper = await startPeer(t)
  const writer = await startPeer(t, { scheduler: keeper.schedulerAddress })
  const other = await startPeer(t, { scheduler: keeper.schedulerAddress })
  const { id } = await writer.write(content.bytes(), { replicas: 3 })
  await waitFor(() => [keeper, other].every(keepsOne))
  await writer.close()
  verifyBytes(await other.download({ task: id }).bytes(), content)
})

test('Peer.seed() publishes a file where it lies, and stop() takes it back', async (t) => {
  const content = new Content(9 * mib, 7)
  const folder = tempFolder(t)
  const path = join(folder, 'model')
  await writeFile(path, content.bytes())
  const seeder = await startPeer(t)
  const child = await startPeer(t, { scheduler: seeder.schedulerAddress })
  // Nobody listens there: only the network has it.
  const url = 'http://127.0.0.1:9/model'
  const seeding = await seeder.seed(path, { url })
  assert.equal(seeding.task.length, content.length)
  verifyBytes(await child.download(url, { backToSource: 'never' }).bytes(), content)
  await seeding.stop()
  await verifyFile(path, content)
  const late = await startPeer(t, {
    scheduler: seeder.schedulerAddress,
    limits: { parentsTimeoutMs: 500 },
  })
  await child.destroy()
  await assert.rejects(late.download(url, { backToSource: 'never' }).bytes(), (error) =>
    PeerError.is(error, 'NO_PARENTS'),
  )
})

test("backToSource 'never' with nobody who has it is NO_PARENTS in time, and the origin is untouched", async (t) => {
  const from = await origin(t, { length: mib })
  const seed = await startPeer(t, { seedPeer: true })
  const peer = await startPeer(t, {
    scheduler: seed.schedulerAddress,
    limits: { parentsTimeoutMs: 700 },
  })
  const begun = performance.now()
  await assert.rejects(peer.download(from.url, { backToSource: 'never' }).bytes(), (error) =>
    PeerError.is(error, 'NO_PARENTS'),
  )
  assert.ok(performance.now() - begun < 3000)
  assert.equal(from.requests.length, 0)
})

test('A task survives a restart and is served again without the origin', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const dir = tempFolder(t)
  const hub = await startPeer(t)
  const before = await Peer.start({ scheduler: hub.schedulerAddress, store: { dir } })
  await before.download(from.url).done
  await before.close()
  const after = await startPeer(t, { scheduler: hub.schedulerAddress, store: { dir } })
  const child = await startPeer(t, { scheduler: hub.schedulerAddress })
  const fetched = from.counts.ranged
  verifyBytes(await child.download(from.url).bytes(), from.content)
  assert.equal((await after.download(from.url).done).traffic.local, 9 * mib)
  assert.equal(from.counts.ranged, fetched)
})

test('A peer whose scheduler is down starts, and downloads from the origin', async (t) => {
  leaks(t)
  const closed = createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const { port } = closed.address() as { port: number }
  closed.close()
  const from = await origin(t, { length: 5 * mib })
  const peer = await startPeer(t, { scheduler: `127.0.0.1:${port}` })
  verifyBytes(await peer.download(from.url).bytes(), from.content)
})

test('A parent that dies in the middle is replaced', async (t) => {
  const from = await origin(t, { length: 48 * mib })
  const hub = await startPeer(t)
  const dying = await startPeer(t, {
    scheduler: hub.schedulerAddress,
    limits: { uploadBytesPerSecond: 4 * mib },
  })
  await dying.download(from.url).done
  const child = await startPeer(t, { scheduler: hub.schedulerAddress })
  const download = child.download(from.url, {
    onProgress: ({ pieces }) => {
      if (pieces === 2) void dying.destroy()
    },
  })
  verifyBytes(await download.bytes(), from.content)
})

test('Peer.explain() and errors hold no credential', async (t) => {
  const from = await origin(t, {
    length: 30 * mib,
    bytesPerSecond: 8 * mib,
    answer: ({ url }) => (url.startsWith('/gone') ? { is: 'status', status: 404 } : undefined),
  })
  const peer = await startPeer(t)
  const secret = 'hunter2'
  const url = `http://user:${secret}@127.0.0.1:${from.port}/a?X-Amz-Signature=${secret}`
  const controller = new AbortController()
  const { signal } = controller
  const headers = { authorization: `Bearer ${secret}` }
  const pending = peer.download(url, { headers, signal }).bytes()
  await from.until(({ counts }) => counts.bytes > 100)
  assert.ok(!JSON.stringify(peer.explain()).includes(secret))
  controller.abort()
  await assert.rejects(pending)
  await assert.rejects(
    peer.download(`http://user:${secret}@127.0.0.1:${from.port}/gone?token=${secret}`).bytes(),
    (error) => {
      const texts: string[] = []
      for (let at = error; at instanceof Error; at = at.cause) {
        texts.push(at.message, JSON.stringify(at), at.stack ?? '')
      }
      return PeerError.is(error, 'ORIGIN_NOT_FOUND') && !texts.join().includes(secret)
    },
  )
})

test('Peer.close() waits for downloads, destroy() does not; afterwards nothing is open and work is refused', async (t) => {
  leaks(t)
  const from = await origin(t, { length: 9 * mib })
  const finishing = await startPeer(t)
  const pending = finishing.download(from.url).bytes()
  await finishing.close()
  verifyBytes(await pending, from.content)
  assert.throws(
    () => finishing.download(from.url),
    (error) => PeerError.is(error, 'CLOSED'),
  )
  await finishing.close()
  const slow = await origin(t, { length: 90 * mib, bytesPerSecond: mib })
  const stopped = await startPeer(t)
  const broken = stopped.download(slow.url).bytes()
  const rejected = assert.rejects(broken, /enough/)
  await slow.until(({ counts }) => counts.bytes > 100)
  await stopped.destroy(new Error('enough'))
  await rejected
  await stopped.destroy()
})

test('A store that disappears and an output folder that is missing are errors with their codes', async (t) => {
  const from = await origin(t, { length: mib })
  const peer = await startPeer(t)
  const folder = tempFolder(t)
  await rm(folder, { recursive: true })
  await assert.rejects(peer.download(from.url).toFile(join(folder, 'out')), (error) =>
    PeerError.is(error, 'FILE_NOT_FOUND'),
  )
})

test('A second peer on one store folder is refused with STORE_LOCKED', async (t) => {
  const dir = tempFolder(t)
  await startPeer(t, { store: { dir } })
  await assert.rejects(Peer.start({ store: { dir } }), (error) =>
    PeerError.is(error, 'STORE_LOCKED'),
  )
})

test('limits.downloadBytesPerSecond paces what comes from the origin and from parents, and blames nobody', async (t) => {
  const from = await origin(t, { length: 12 * mib })
  const first = await startPeer(t)
  await first.download(from.url).done
  const rate = 4 * mib
  const slow = await startPeer(t, {
    scheduler: first.schedulerAddress,
    limits: { downloadBytesPerSecond: rate },
  })
  const failed: unknown[] = []
  const onFailed = (message: unknown): number => failed.push(message)
  subscribe('dragonfly-peer:piece:failed', onFailed)
  t.after(() => unsubscribe('dragonfly-peer:piece:failed', onFailed))
  const begun = performance.now()
  const info = await slow.download(from.url).done
  assert.equal(info.traffic.peers, 12 * mib)
  // The last piece may leave a debt: two of the three have to be paid for.
  assert.ok(performance.now() - begun > 1800)
  assert.deepEqual(failed, [])
})

/** Whether one task lies in the store of this peer and nothing is still being fetched. */
function keepsOne(peer: Peer): boolean {
  const { stores, tasks } = peer.explain() as {
    stores: readonly { name: string; tasks: number }[]
    tasks: readonly unknown[]
  }
  return stores.find(({ name }) => name === 'disk')?.tasks === 1 && tasks.length === 0
}

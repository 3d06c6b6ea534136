import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { createClient } from '@connectrpc/connect'
import { PeerError } from '../../src/errors.ts'
import { hostNews } from '../../src/peer/host-news.ts'
import { openChannel } from '../../src/rpc/channel.ts'
import { DfdaemonUpload } from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { deferred } from '../../src/util/deferred.ts'
import { cleanup } from '../support/cleanup.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyBytes, verifyFile } from '../support/verify.ts'
import { runsOf, startPeer, waitFor } from './start-peer.ts'

const mib = 1024 * 1024

/** Content that stops coming after its first bytes, and never ends; `standing` resolves when it has stopped. */
function stalled(): {
  readonly content: AsyncIterable<Uint8Array>
  readonly standing: Promise<void>
} {
  const { promise, resolve } = deferred<void>()
  async function* content(): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(5)
    resolve()
    await new Promise<never>(() => undefined)
  }
  return { content: content(), standing: promise }
}

async function within<T>(t: TestContext, ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms`)), ms)
  })
  cleanup(t, () => clearTimeout(timer))
  return await Promise.race([work, late])
}

test('Peer.destroy() ends an iteration that stands still', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const peer = await startPeer(t)
  const chunks = peer.download(from.url)[Symbol.asyncIterator]()
  await chunks.next()
  await within(t, 3000, peer.destroy())
  await assert.rejects(chunks.next(), (error) => PeerError.is(error, 'CLOSED'))
})

test('Peer.destroy() ends an iteration of a download that is done', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const peer = await startPeer(t)
  const download = peer.download(from.url)
  await download.done
  const chunks = download[Symbol.asyncIterator]()
  await chunks.next()
  await within(t, 3000, peer.destroy())
  await assert.rejects(chunks.next(), (error) => PeerError.is(error, 'CLOSED'))
})

test('Download rejects with signal.reason when it is used again after it was done', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const peer = await startPeer(t)
  const controller = new AbortController()
  const download = peer.download(from.url, { signal: controller.signal })
  await download.done
  const reason = new Error('enough')
  controller.abort(reason)
  const path = join(tempFolder(t), 'out')
  await assert.rejects(download.toFile(path), (error) => error === reason)
})

test('Peer.download() of nothing leaves no listener on the signal', async (t) => {
  const peer = await startPeer(t)
  const controller = new AbortController()
  for (let n = 0; n < 5; n++) peer.download('http://127.0.0.1:9/a', { signal: controller.signal })
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
})

test('Peer.write() rejects with signal.reason while the content stands still', async (t) => {
  const peer = await startPeer(t)
  const controller = new AbortController()
  const { content, standing } = stalled()
  const pending = peer.write(content, { signal: controller.signal })
  const reason = new Error('enough')
  await standing
  controller.abort(reason)
  await assert.rejects(within(t, 3000, pending), (error) => error === reason)
})

test('Peer.destroy() ends a write whose content stands still', async (t) => {
  const peer = await startPeer(t)
  const { content, standing } = stalled()
  const pending = assert.rejects(peer.write(content), (error) => PeerError.is(error, 'CLOSED'))
  await standing
  await within(t, 3000, peer.destroy())
  await pending
})

test('Peer.write() of a missing file rejects with FILE_NOT_FOUND and nothing else happens', async (t) => {
  for (const store of [{ dir: tempFolder(t) }, 'memory'] as const) {
    const peer = await startPeer(t, { store })
    const path = join(tempFolder(t), 'none')
    await assert.rejects(peer.write(path), (error) => PeerError.is(error, 'FILE_NOT_FOUND'))
  }
})

test('hostNews() leaves no listener behind', async () => {
  const controller = new AbortController()
  const clock = {
    now: () => 0,
    date: () => 0,
    after: (_ms: number, call: () => void) => {
      queueMicrotask(call)
      return () => undefined
    },
  }
  const news = hostNews({ sentBytes: () => 0, sendBytesPerSecondMax: 1, clock }, controller.signal)
  for (let n = 0; n < 20; n++) await news.next()
  assert.ok(getEventListeners(controller.signal, 'abort').length < 3)
  await news.return()
})

test("Download.bytes() of a range into memory of the range's length", async (t) => {
  const from = await origin(t, { length: 12 * mib })
  const peer = await startPeer(t)
  const into = new Uint8Array(5 * mib)
  const range = { start: 3, length: 5 * mib }
  const download = peer.download(from.url, { range, into })
  verifyBytes(await download.bytes(), from.content, 3)
  verifyBytes(await download.bytes(), from.content, 3)
})

test('Download.bytes() of a range into memory as long as the content, twice', async (t) => {
  const from = await origin(t, { length: 12 * mib })
  const peer = await startPeer(t)
  const into = new Uint8Array(12 * mib)
  const range = { start: 3, length: 5 * mib }
  const download = peer.download(from.url, { range, into })
  verifyBytes(await download.bytes(), from.content, 3)
  verifyBytes(await download.bytes(), from.content, 3)
})

test('Download.bytes() never gives memory that its owner has written to since', async (t) => {
  const from = await origin(t, { length: 6 * mib })
  const peer = await startPeer(t)
  const into = new Uint8Array(6 * mib)
  await peer.download(from.url, { into }).bytes()
  into.fill(7)
  verifyBytes(await peer.download(from.url).bytes(), from.content)
  assert.equal(into[0], 7)
})

test('Download.bytes() begun while one that was cancelled ends', async (t) => {
  const from = await origin(t, { length: 9 * mib, bytesPerSecond: 40 * mib })
  const peer = await startPeer(t)
  for (let n = 0; n < 4; n++) {
    const url = from.urlOf(`/${n}`)
    const controller = new AbortController()
    const first = peer.download(url, { signal: controller.signal })
    const pending = assert.rejects(first.bytes())
    const before = from.counts.bytes
    await from.until(({ counts }) => counts.bytes > before + 5 * mib)
    const second = n % 2 === 0 ? undefined : peer.download(url).bytes()
    controller.abort(new Error('gone'))
    verifyBytes(await (second ?? peer.download(url).bytes()), from.content)
    await pending
  }
})

test('Download of a range that joined bytes() outlives its cancelling', async (t) => {
  const from = await origin(t, { length: 24 * mib, bytesPerSecond: 8 * mib })
  const peer = await startPeer(t)
  const controller = new AbortController()
  const pending = assert.rejects(peer.download(from.url, { signal: controller.signal }).bytes())
  await from.until(({ counts }) => counts.bytes > 1000)
  const path = join(tempFolder(t), 'out')
  const range = { start: 5, length: 5 * mib }
  const part = peer.download(from.url, { range }).toFile(path)
  part.catch(() => undefined)
  await waitFor(() => runsOf(peer)[0]?.shares === 2)
  controller.abort(new Error('gone'))
  await pending
  await part
  await verifyFile(path, from.content, 5, 5 * mib)
})

test('backToSource never stays a guarantee when the download it joined is cancelled', async (t) => {
  const from = await origin(t, { length: 24 * mib, bytesPerSecond: 4 * mib })
  const peer = await startPeer(t, { limits: { concurrency: 1, parentsTimeoutMs: 500 } })
  const controller = new AbortController()
  const pending = assert.rejects(peer.download(from.url, { signal: controller.signal }).done)
  await from.until(({ counts }) => counts.bytes > 1000)
  const never = assert.rejects(
    within(t, 8000, peer.download(from.url, { backToSource: 'never' }).done),
    (error) => PeerError.is(error, 'NO_PARENTS'),
  )
  // It waits for the other run without anything that shows; a few turns are more than it needs to get there.
  for (let turn = 0; turn < 20; turn++) await setImmediate()
  controller.abort(new Error('gone'))
  await pending
  const before = from.requests.length
  await never
  assert.equal(from.requests.length, before)
})

test("Download that was cancelled makes its peer nobody's parent, and nobody waits for it", async (t) => {
  const from = await origin(t, { length: 24 * mib, bytesPerSecond: 8 * mib })
  const hub = await startPeer(t)
  const scheduler = hub.schedulerAddress
  const first = await startPeer(t, { scheduler })
  const controller = new AbortController()
  const gone = assert.rejects(first.download(from.url, { signal: controller.signal }).done)
  await from.until(({ counts }) => counts.bytes > 9 * mib)
  controller.abort(new Error('gone'))
  await gone
  const before = from.counts.bytes
  const second = await startPeer(t, { scheduler })
  const download = second.download(from.url)
  const asked = from.until(({ counts }) => counts.bytes > before + mib)
  const done = download.done
  await within(t, 3000, asked)
  assert.equal((await done).traffic.peers, 0)
})

test('Download cancelled while it waits for another run rejects at once', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const peer = await startPeer(t, { limits: { parentsTimeoutMs: 8000 } })
  // Part of it is kept, so that a run without the origin begins and finds nobody.
  await peer.download(from.url, { range: { start: 0, length: 1 } }).done
  const never = peer.download(from.url, { backToSource: 'never' })
  const failing = assert.rejects(never.done)
  await waitFor(() => runsOf(peer).length === 1)
  const controller = new AbortController()
  const reason = new Error('enough')
  const pending = peer.download(from.url, { signal: controller.signal }).done
  await from.until(({ counts }) => counts.stats === 2)
  for (let turn = 0; turn < 20; turn++) await setImmediate()
  controller.abort(reason)
  await assert.rejects(within(t, 2000, pending), (error) => error === reason)
  await never.close()
  await failing
})

test('Download.toFile() of a range names each failure by code', async (t) => {
  const from = await origin(t, { length: mib })
  const peer = await startPeer(t)
  const folder = tempFolder(t)
  await writeFile(join(folder, 'file'), 'x')
  await mkdir(join(folder, 'dir'))
  for (const range of [{ start: 0, length: 10 }, undefined]) {
    const download = peer.download(from.url, range === undefined ? {} : { range })
    for (const path of ['file/out', 'none/out', 'dir']) {
      const options = { overwrite: true }
      await assert.rejects(download.toFile(join(folder, path), options), (error) => {
        assert.ok(PeerError.is(error), `${path} ${String(range?.length)}: ${String(error)}`)
        return true
      })
    }
    const long = join(folder, (range === undefined ? 'a' : 'b').repeat(250))
    await download.toFile(long)
  }
  assert.equal((await readdir(folder)).length, 4)
})

test('UpdatePersistentCacheTask over the network cannot pin a download', async (t) => {
  const from = await origin(t, { length: mib })
  const peer = await startPeer(t)
  const { id } = await peer.download(from.url).done
  const channel = openChannel({ address: peer.address })
  cleanup(t, () => channel.close())
  const client = createClient(DfdaemonUpload, channel)
  await assert.rejects(client.updatePersistentCacheTask({ taskId: id, persistent: true }))
})

test('Seeding.stop() after the peer was closed does nothing', async (t) => {
  const peer = await startPeer(t)
  const path = join(tempFolder(t), 'file')
  await writeFile(path, 'hello')
  const seeding = await peer.seed(path, { url: 'http://127.0.0.1:9/none' })
  await peer.close()
  await seeding.stop()
})

test('Download.toFile() works after the memory of bytes() was written to', async (t) => {
  const from = await origin(t, { length: 6 * mib })
  const peer = await startPeer(t)
  const download = peer.download(from.url)
  const bytes = await download.bytes()
  bytes.fill(1)
  const path = join(tempFolder(t), 'out')
  await download.toFile(path)
  await verifyFile(path, from.content)
  assert.equal(bytes[0], 1)
})

test('Download.bytes() that cannot hold the range fetches nothing more', async (t) => {
  const from = await origin(t, { length: 12 * mib, bytesPerSecond: mib })
  const peer = await startPeer(t)
  const range = { start: 3, length: 5 * mib }
  const download = peer.download(from.url, { range, into: new Uint8Array(5) })
  await assert.rejects(download.bytes(), (error) => PeerError.is(error, 'TOO_LARGE'))
  await within(t, 3000, peer.close())
})

test('Download.bytes() asks anew when the task was dropped since', async (t) => {
  const from = await origin(t, { length: 6 * mib })
  const peer = await startPeer(t)
  const download = peer.download(from.url)
  await download.done
  from.change({ seed: 9 })
  await peer.download(from.url).done
  verifyBytes(await download.bytes(), from.content)
})

test('Peer.close() ends when a reader was left standing, and the reader gets CLOSED', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const peer = await startPeer(t)
  const reader = peer.download(from.url).stream().getReader()
  await reader.read()
  await peer.close()
  await assert.rejects(
    async () => {
      while (!(await reader.read()).done) continue
    },
    (error) => PeerError.is(error, 'CLOSED'),
  )
})

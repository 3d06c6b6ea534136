import assert from 'node:assert/strict'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import type { Source } from '../../src/source/source.ts'
import { leaks } from '../support/leaks.ts'
import { origin } from '../support/origin.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { verifyBytes, verifyFile, verifyStream } from '../support/verify.ts'
import { startPeer } from './start-peer.ts'

const mib = 1024 * 1024

test('Download.toFile(), bytes(), iteration and done give the same content, fetched once', async (t) => {
  leaks(t)
  const from = await origin(t, { length: 9 * mib + 5 })
  const peer = await startPeer(t)
  const path = join(tempFolder(t), 'out')
  const download = peer.download(from.url)
  const info = await download.toFile(path)
  await verifyFile(path, from.content)
  verifyBytes(await download.bytes(), from.content)
  await verifyStream(download, from.content)
  await verifyStream(download.stream(), from.content)
  assert.deepEqual(await download.done, info)
  assert.equal(info.pieces, 3)
  assert.equal(info.length, from.content.length)
  assert.equal(info.traffic.source, from.content.length)
  assert.equal(from.counts.ranged, 3)
  assert.ok(from.counts.bytes <= from.content.length + 16)
})

for (const length of [0, 1, 4 * mib - 1, 4 * mib, 4 * mib + 1]) {
  test(`Download delivers ${length} bytes to a file and to memory`, async (t) => {
    const from = await origin(t, { length })
    const peer = await startPeer(t)
    const path = join(tempFolder(t), 'out')
    await peer.download(from.url).toFile(path)
    await verifyFile(path, from.content)
    const other = await startPeer(t, { store: 'memory' })
    const bytes = await other.download(from.url).bytes()
    assert.equal(bytes.byteLength, length)
    verifyBytes(bytes, from.content)
  })
}

test('Download.bytes() reads straight into the memory that was given, also a shared one', async (t) => {
  const from = await origin(t, { length: 5 * mib })
  const peer = await startPeer(t)
  const into = new Uint8Array(new SharedArrayBuffer(6 * mib))
  const bytes = await peer.download(from.url, { into }).bytes()
  assert.equal(bytes.buffer, into.buffer)
  verifyBytes(bytes, from.content)
  const shared = await peer.download(from.urlOf('/b')).bytes({ shared: true })
  assert.ok(shared.buffer instanceof SharedArrayBuffer)
  verifyBytes(shared, from.content)
})

test('Download refuses an options.into that is too small', async (t) => {
  const from = await origin(t, { length: 5 * mib })
  const peer = await startPeer(t)
  await assert.rejects(
    peer.download(from.url, { into: new Uint8Array(5) }).bytes(),
    (error) => PeerError.is(error, 'TOO_LARGE') && error.details.length === 5 * mib,
  )
  assert.equal(from.counts.ranged, 0)
})

test('Download delivers a range in every way and fetches only the pieces that hold it', async (t) => {
  const from = await origin(t, { length: 20 * mib })
  const peer = await startPeer(t)
  const range = { start: 5 * mib + 3, length: 4 * mib }
  const path = join(tempFolder(t), 'out')
  const download = peer.download(from.url, { range })
  await download.toFile(path)
  await verifyFile(path, from.content, range.start, range.length)
  verifyBytes(await download.bytes(), from.content, range.start)
  await verifyStream(download, from.content, range.start, range.length)
  assert.equal(from.counts.ranged, 2)
  await peer.download(from.url).done
  assert.equal(from.counts.ranged, 5, 'the pieces of the range are not fetched again')
})

test('Download cuts a range at the end of the content and refuses one past it', async (t) => {
  const from = await origin(t, { length: mib })
  const peer = await startPeer(t)
  const tail = await peer.download(from.url, { range: { start: mib - 10, length: 100 } }).bytes()
  assert.equal(tail.byteLength, 10)
  await assert.rejects(
    peer.download(from.url, { range: { start: mib, length: 1 } }).bytes(),
    (error) => PeerError.is(error, 'RANGE_NOT_SATISFIABLE') && error.details.contentLength === mib,
  )
})

test('Download works from an origin without ranges and from one that tells no length', async (t) => {
  leaks(t)
  const plain = await origin(t, { length: 9 * mib, ranges: false })
  const chunked = await origin(t, { length: 9 * mib + 1, ranges: false, lengthKnown: false })
  const peer = await startPeer(t)
  for (const from of [plain, chunked]) {
    const bytes = await peer.download(from.url).bytes()
    assert.equal(bytes.byteLength, from.content.length)
    verifyBytes(bytes, from.content)
  }
})

test('Download checks the digest of the whole content on every path', async (t) => {
  const from = await origin(t, { length: 20 * mib })
  const peer = await startPeer(t)
  const right = `sha256:${from.content.sha256()}`
  const wrong = `sha256:${'0'.repeat(64)}`
  const folder = tempFolder(t)
  const info = await peer.download(from.url, { digest: right }).toFile(join(folder, 'right'))
  assert.equal(info.digest, right)
  const mismatch = (error: unknown): boolean =>
    PeerError.is(error, 'DIGEST_MISMATCH') && error.details.actual === right
  const bad = peer.download(from.url, { digest: wrong })
  await assert.rejects(bad.toFile(join(folder, 'wrong')), mismatch)
  await assert.rejects(bad.done, mismatch)
  await assert.rejects(peer.download(from.urlOf('/m'), { digest: wrong }).bytes(), mismatch)
  await assert.rejects(verifyStream(peer.download(from.url, { digest: wrong }), from.content))
  assert.deepEqual(await readdir(folder), ['right'], 'nothing stands at the output path')
})

test('Download.toFile() never replaces a file unasked', async (t) => {
  const from = await origin(t, { length: mib })
  const peer = await startPeer(t)
  const path = join(tempFolder(t), 'out')
  await writeFile(path, 'mine')
  await assert.rejects(
    peer.download(from.url).toFile(path),
    (error) => PeerError.is(error, 'OUTPUT_EXISTS') && error.details.path === path,
  )
  assert.equal(await readFile(path, 'utf8'), 'mine')
  assert.equal(from.counts.ranged, 0, 'it is refused before the first byte')
  await peer.download(from.url).toFile(path, { overwrite: true, writable: true })
  await verifyFile(path, from.content)
  assert.ok(((await stat(path)).mode & 0o200) !== 0)
})

const failures: readonly [number, string][] = [
  [404, 'ORIGIN_NOT_FOUND'],
  [410, 'ORIGIN_NOT_FOUND'],
  [401, 'ORIGIN_FORBIDDEN'],
  [403, 'ORIGIN_FORBIDDEN'],
  [418, 'ORIGIN_PROTOCOL'],
]

for (const [status, code] of failures) {
  test(`Download rejects with ${code} when the origin answers ${status}`, async (t) => {
    leaks(t)
    const from = await origin(t, { answer: () => ({ is: 'status', status }) })
    const peer = await startPeer(t)
    const folder = tempFolder(t)
    await assert.rejects(
      peer.download(from.url).toFile(join(folder, 'out')),
      (error) => PeerError.is(error) && error.code === code,
    )
    assert.deepEqual(await readdir(folder), [])
  })
}

test('Peer.download() refuses a scheme that nobody serves', async (t) => {
  const peer = await startPeer(t)
  await assert.rejects(
    peer.download('gopher://host/a').bytes(),
    (error) => PeerError.is(error, 'UNKNOWN_SCHEME') && error.details.scheme === 'gopher',
  )
})

test('Peer.download() reads from a source of plain async functions', async (t) => {
  const text = new TextEncoder().encode('hello from nowhere')
  const source: Source = {
    scheme: 'demo',
    stat: async () => ({ length: text.byteLength, ranges: true, headers: {} }),
    async *read({ offset, length }) {
      yield text.subarray(offset, length === undefined ? undefined : offset + length)
    },
  }
  const peer = await startPeer(t, { sources: [source] })
  assert.deepEqual(Buffer.from(await peer.download('demo://x/y').bytes()), Buffer.from(text))
})

test('Two downloads of one task in one peer share one run', async (t) => {
  const from = await origin(t, { length: 12 * mib, bytesPerSecond: 24 * mib })
  const peer = await startPeer(t)
  const all = [1, 2, 3].map(() => peer.download(from.url).bytes())
  for (const bytes of await Promise.all(all)) verifyBytes(bytes, from.content)
  assert.equal(from.counts.ranged, 3)
  assert.equal(from.counts.stats, 1)
})

test('Download rejects with signal.reason and frees the connection to the origin at once', async (t) => {
  leaks(t)
  const from = await origin(t, { length: 40 * mib, bytesPerSecond: mib })
  const peer = await startPeer(t)
  const controller = new AbortController()
  const reason = new Error('no longer wanted')
  const pending = peer.download(from.url, { signal: controller.signal }).bytes()
  await from.until(({ counts }) => counts.bytes > 1000)
  controller.abort(reason)
  await assert.rejects(pending, (error) => error === reason)
  await from.until(({ requests }) => requests.every(({ state }) => state !== 'open'))
})

test('Download.close() rejects what waits, with CLOSED', async (t) => {
  const from = await origin(t, { length: 40 * mib, bytesPerSecond: mib })
  const peer = await startPeer(t)
  const download = peer.download(from.url)
  const pending = assert.rejects(download.done, (error) => PeerError.is(error, 'CLOSED'))
  await from.until(({ counts }) => counts.bytes > 1000)
  await download.close()
  await pending
})

test('Leaving the iteration of a download early stops it', async (t) => {
  const from = await origin(t, { length: 40 * mib, bytesPerSecond: 8 * mib })
  const peer = await startPeer(t)
  for await (const chunk of peer.download(from.url)) {
    assert.ok(chunk.byteLength > 0)
    break
  }
  await from.until(({ requests }) => requests.every(({ state }) => state !== 'open'))
  assert.ok(from.counts.bytes < 40 * mib)
})

test('A kept task is used again, and fetched anew once the origin has other content', async (t) => {
  const from = await origin(t, { length: 6 * mib })
  const peer = await startPeer(t)
  await peer.download(from.url).done
  const again = await peer.download(from.url).done
  assert.deepEqual(again.traffic, { source: 0, peers: 0, local: 6 * mib })
  from.change({ seed: 9 })
  const path = join(tempFolder(t), 'out')
  await peer.download(from.url).toFile(path)
  await verifyFile(path, from.content)
})

test('Content that changes under a running download is an error, never a mixed file', async (t) => {
  const from = await origin(t, { length: 24 * mib, bytesPerSecond: 16 * mib })
  const peer = await startPeer(t, { limits: { concurrency: 1 } })
  const folder = tempFolder(t)
  const pending = peer.download(from.url).toFile(join(folder, 'out'))
  await from.until(({ counts }) => counts.ranged === 2)
  from.change({ seed: 77 })
  await assert.rejects(pending, (error) => PeerError.is(error, 'ORIGIN_CHANGED'))
  assert.deepEqual(await readdir(folder), [])
})

test('options.onProgress counts every byte, and an error in it ends the download', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const peer = await startPeer(t)
  const seen: number[] = []
  await peer.download(from.url, { onProgress: ({ bytes }) => seen.push(bytes) }).done
  assert.equal(seen.at(-1), 9 * mib)
  assert.deepEqual(
    [...seen].sort((a, b) => a - b),
    seen,
  )
  const failing = peer.download(from.urlOf('/other'), {
    onProgress: () => {
      throw new Error('mine')
    },
  })
  await assert.rejects(failing.done, (error) => PeerError.is(error, 'FOREIGN'))
})

test('Download of a range needs room for its pieces only', async (t) => {
  const from = await origin(t, { length: 200 * mib })
  const peer = await startPeer(t, { store: { dir: tempFolder(t), bytesMax: 20 * mib } })
  const range = { start: 150 * mib + 1, length: 5 * mib }
  verifyBytes(await peer.download(from.url, { range }).bytes(), from.content, range.start)
  await assert.rejects(peer.download(from.url).done, (error) => PeerError.is(error, 'NO_SPACE'))
  verifyBytes(await peer.download(from.url, { range }).bytes(), from.content, range.start)
})

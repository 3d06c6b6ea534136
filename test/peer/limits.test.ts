import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Peer } from '../../src/peer/peer.ts'
import { PeerError } from '../../src/errors.ts'
import { origin } from '../support/origin.ts'
import { startPeer, waitFor } from './start-peer.ts'

const mib = 1024 * 1024

/** Bytes per second, in MB, of a download from now to its end. */
async function speedOf(work: Promise<Uint8Array>): Promise<number> {
  const begun = performance.now()
  const { length } = await work
  return length / 1000 / (performance.now() - begun)
}

/** Within a tenth above, always. Whether it is not much below either: a busy machine may take a part of it. */
function holds(speed: number, wanted: number): boolean {
  assert.ok(speed <= wanted * 1.1, `${speed} MB/s in place of ${wanted}`)
  return speed >= wanted * 0.7
}

function sending(peer: Peer): number {
  return JSON.stringify(peer.explain()).match(/"is":"sending"/g)?.length ?? 0
}

test('Peer.setLimits() shows in limits, and takes the names and bounds of the options', async (t) => {
  const peer = await startPeer(t, { store: 'memory', limits: { concurrency: 3 } })
  const { limits } = peer
  assert.deepEqual([limits.concurrency, limits.uploadSlots], [3, 16])
  peer.setLimits({ uploadSlots: 2, downloadBytesPerSecond: 5000 })
  assert.deepEqual(peer.limits, { ...limits, uploadSlots: 2, downloadBytesPerSecond: 5000 })
  peer.setLimits({ downloadBytesPerSecond: undefined, concurrency: undefined })
  assert.deepEqual(peer.limits, { ...limits, uploadSlots: 2, concurrency: 8 })
  const before = peer.limits
  const wrong = (change: object, kind: typeof TypeError, names: RegExp): void =>
    assert.throws(
      () => peer.setLimits(change),
      (error) => error instanceof kind && names.test(error.message),
    )
  wrong({ uploadSlotz: 1 }, TypeError, /limits\.uploadSlotz/)
  wrong({ uploadSlots: '1' }, TypeError, /limits\.uploadSlots/)
  wrong({ concurrency: 0 }, RangeError, /limits\.concurrency/)
  wrong({ uploadBytesPerSecond: 0 }, RangeError, /limits\.uploadBytesPerSecond/)
  wrong({ uploadBytesPerSecond: Infinity }, RangeError, /limits\.uploadBytesPerSecond/)
  wrong({ uploadSlots: 9, memoryBytesMax: -1 }, RangeError, /limits\.memoryBytesMax/)
  assert.throws(() => peer.setLimits(7 as never), /limits must be an object/)
  assert.equal(peer.limits, before)
  const download = peer.download('https://host/file', { concurrency: 2 })
  assert.deepEqual(download.limits, { concurrency: 2, downloadBytesPerSecond: undefined })
  download.setLimits({ downloadBytesPerSecond: 4096 })
  assert.deepEqual(download.limits, { concurrency: 2, downloadBytesPerSecond: 4096 })
  assert.throws(() => download.setLimits({ downloadBytesPerSecond: 1 }), RangeError)
  assert.throws(() => download.setLimits({ uploadSlots: 1 } as never), /limits\.uploadSlots/)
})

test('Rates hold over a transfer, for a peer and for a download, the tighter one', async (t) => {
  const parent = await startPeer(t, { store: 'memory' })
  const { id } = await parent.write(new Uint8Array(32 * mib), { replicas: 1 })
  const joins = { store: 'memory', scheduler: parent.schedulerAddress } as const
  const reached: boolean[] = []
  const speeds: number[] = []
  for (let attempt = 1; attempt <= 5 && !(reached[0] === true && reached[1] === true); attempt++) {
    const child = await startPeer(t, { ...joins, limits: { downloadBytesPerSecond: 10e6 } })
    const other = await startPeer(t, joins)
    const [one, two] = await Promise.all([
      speedOf(child.download({ task: id }, { downloadBytesPerSecond: 20e6 }).bytes()),
      speedOf(other.download({ task: id }, { downloadBytesPerSecond: 12.5e6 }).bytes()),
    ])
    speeds.push(one, two)
    reached[0] = holds(one, 10) || reached[0] === true
    reached[1] = holds(two, 12.5) || reached[1] === true
    for (const each of [child, other]) await each.destroy()
  }
  assert.deepEqual(reached, [true, true], `${speeds.join(', ')} MB/s in place of 10 and 12.5`)
})

test('Rates are changed in the middle of a transfer, down and up', async (t) => {
  const parent = await startPeer(t, { store: 'memory', limits: { uploadBytesPerSecond: 30e6 } })
  const { id } = await parent.write(new Uint8Array(32 * mib), { replicas: 1 })
  const child = await startPeer(t, { store: 'memory', scheduler: parent.schedulerAddress })
  const download = child.download({ task: id })
  const bytes = download.bytes()
  const kept = (): number => child.usage().memory.bytes
  await waitFor(() => kept() > 0)
  const marks: (readonly [number, () => void])[] = [
    [400, () => parent.setLimits({ uploadBytesPerSecond: 2e6 })],
    [1000, () => download.setLimits({ downloadBytesPerSecond: 1e6 })],
    [1600, () => download.setLimits({ downloadBytesPerSecond: undefined })],
  ]
  const begun = performance.now()
  for (const [atMs, change] of marks) {
    await waitFor(() => performance.now() - begun >= atMs)
    change()
  }
  parent.setLimits({ uploadBytesPerSecond: undefined })
  await bytes
  const tookMs = performance.now() - begun
  // At either of the slow rates it would be on its way for eight seconds more, or sixteen.
  assert.ok(tookMs >= 1600 && tookMs < 8000, `${tookMs} ms`)
})

test('Upload slots are never exceeded, whatever they are changed to', async (t) => {
  const parent = await startPeer(t, { store: 'memory', limits: { uploadSlots: 2 } })
  // Long pieces: the sockets take up some of each.
  const content = new Uint8Array(128 * mib)
  const { id } = await parent.write(content, { replicas: 1, pieceLength: 16 * mib })
  const child = await startPeer(t, { store: 'memory', scheduler: parent.schedulerAddress })
  let pieces = 0
  const download = child.download(
    { task: id },
    { downloadBytesPerSecond: 80e6, onProgress: (progress) => (pieces = progress.pieces) },
  )
  const bytes = download.bytes()
  let most = 0
  const look = (): number => {
    const now = sending(parent)
    most = Math.max(most, now)
    return now
  }
  let ended = false
  const end = bytes.finally(() => (ended = true))
  await waitFor(() => look() > 2 || pieces >= 3)
  assert.ok(most <= 2, `${most} at once`)
  parent.setLimits({ uploadSlots: 4 })
  await waitFor(() => look() > 4 || pieces >= 6)
  assert.ok(most <= 4, `${most} at once`)
  parent.setLimits({ uploadSlots: 1 })
  await waitFor(() => look() <= 1)
  most = 0
  download.setLimits({ downloadBytesPerSecond: undefined })
  await waitFor(() => look() > 1 || ended)
  assert.ok(most <= 1, `${most} at once`)
  await end
})

test('Concurrency is changed for a peer and for a download, and never exceeded', async (t) => {
  const from = await origin(t, { length: 48 * mib, bytesPerSecond: 30e6 })
  const peer = await startPeer(t, { store: 'memory', limits: { concurrency: 1 } })
  const download = peer.download(from.url)
  const bytes = download.bytes()
  await from.until(() => from.counts.ranged === 3)
  assert.equal(from.counts.atOnce, 1)
  peer.setLimits({ concurrency: 2 })
  await from.until(() => from.counts.atOnce === 2)
  download.setLimits({ concurrency: 3 })
  await from.until(() => from.counts.atOnce === 3)
  peer.setLimits({ concurrency: 8 })
  await bytes
  assert.equal(from.counts.atOnce, 3)
})

test('The memory budget is changed: lower drops what is unused, higher lets in what was refused', async (t) => {
  const from = await origin(t, { length: 4 * mib })
  const peer = await startPeer(t, { store: 'memory', limits: { memoryBytesMax: 16 * mib } })
  for (const name of ['a', 'b', 'c']) await peer.download(from.urlOf(`/${name}`)).done
  assert.equal(peer.usage().memory.bytes, 12 * mib)
  peer.setLimits({ memoryBytesMax: 6 * mib })
  await waitFor(() => peer.usage().memory.bytes <= 6 * mib)
  assert.equal(peer.usage().memory.bytesMax, 6 * mib)
  await peer.download(from.urlOf('/d')).done
  assert.ok(peer.usage().memory.bytes <= 6 * mib)
  const large = await origin(t, { length: 8 * mib })
  const refused = peer.download(large.url).done
  await assert.rejects(refused, (error) => PeerError.is(error, 'TOO_LARGE'))
  peer.setLimits({ memoryBytesMax: 32 * mib })
  await peer.download(large.url).done
  assert.ok(peer.usage().memory.bytes <= 32 * mib)
})

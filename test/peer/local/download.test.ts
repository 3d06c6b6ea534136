import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { Code } from '@connectrpc/connect'
import { contentTaskId, standardTaskId } from '../../../src/hash/task-id.ts'
import { backendDetail } from '../../../src/rpc/backend-detail.ts'
import { TaskType, TrafficType } from '../../../src/rpc/gen/common/v2/common_pb.ts'
import type { Source } from '../../../src/source/source.ts'
import { leaks } from '../../support/leaks.ts'
import { origin } from '../../support/origin.ts'
import { verifyBytes } from '../../support/verify.ts'
import { runsOf, startPeer, waitFor } from '../start-peer.ts'
import { bytesOf, download, type DownloadWish, localPeer, numbersOf } from './local-peer.ts'

const mib = 1024 * 1024
const zeros = '0'.repeat(64)

test('DownloadTask says first which pieces will come, then each once, with where it came from', async (t) => {
  leaks(t)
  const from = await origin(t, { length: 9 * mib + 5 })
  const local = await localPeer(t)
  const first = await download(local, { url: from.url })
  assert.equal(first.error, undefined)
  assert.equal(first.started?.contentLength, BigInt(9 * mib + 5))
  assert.equal(first.started?.isFinished, false)
  assert.deepEqual(
    first.started?.pieces.map(({ number, offset, length, digest }) => [
      number,
      offset,
      length,
      digest,
    ]),
    [
      [0, 0n, BigInt(4 * mib), ''],
      [1, BigInt(4 * mib), BigInt(4 * mib), ''],
      [2, BigInt(8 * mib), BigInt(mib + 5), ''],
    ],
  )
  assert.deepEqual(numbersOf(first).toSorted(), [0, 1, 2])
  for (const piece of first.pieces) {
    assert.equal(piece.trafficType, TrafficType.BACK_TO_SOURCE)
    assert.equal(piece.parentId, undefined)
    assert.match(piece.digest, /^crc32:\d+$/)
    assert.equal(piece.content, undefined)
    assert.notEqual(piece.createdAt, undefined)
  }
  const second = await download(local, { url: from.url })
  assert.equal(second.started?.isFinished, true)
  assert.deepEqual(numbersOf(second), [0, 1, 2])
  assert.ok(second.pieces.every(({ trafficType }) => trafficType === TrafficType.LOCAL_PEER))
  assert.equal(from.counts.ranged, 3)
  assert.equal(new Set([...first.peerIds, ...second.peerIds]).size, 2)
})

test('DownloadTask names the parent of each piece', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const seeder = await startPeer(t)
  await seeder.download(from.url).done
  const local = await localPeer(t, { scheduler: seeder.schedulerAddress })
  const told = await download(local, { url: from.url })
  assert.equal(told.error, undefined)
  assert.equal(told.pieces.length, 3)
  for (const { trafficType, parentId } of told.pieces) {
    assert.equal(trafficType, TrafficType.REMOTE_PEER)
    assert.ok(parentId?.startsWith(seeder.hostId), parentId)
  }
})

test('DownloadTask calls local what was here before, and nothing else', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const local = await localPeer(t)
  await local.peer.download(from.url, { range: { start: 4 * mib, length: 1 } }).done
  const told = await download(local, { url: from.url })
  const traffic = new Map(told.pieces.map(({ number, trafficType }) => [number, trafficType]))
  assert.equal(traffic.get(1), TrafficType.LOCAL_PEER)
  assert.equal(traffic.get(0), TrafficType.BACK_TO_SOURCE)
  assert.equal(traffic.get(2), TrafficType.BACK_TO_SOURCE)
  assert.equal(told.started?.isFinished, false)
})

test('DownloadTask tells content without a length from the start as fetched, not as local', async (t) => {
  const from = await origin(t, { length: 5 * mib, lengthKnown: false, ranges: false })
  const told = await download(await localPeer(t), { url: from.url })
  assert.equal(told.error, undefined)
  assert.deepEqual(numbersOf(told), [0, 1])
  assert.equal(told.started?.isFinished, false)
  assert.ok(told.pieces.every(({ trafficType }) => trafficType === TrafficType.BACK_TO_SOURCE))
})

for (const store of ['memory', {}] as const) {
  test(`DownloadTask sends the bytes of pieces when asked, from ${store === 'memory' ? store : 'disk'}`, async (t) => {
    const from = await origin(t, { length: 9 * mib + 5 })
    const local = await localPeer(t, store === 'memory' ? { store } : {})
    for (const url of [from.url, from.url]) {
      const told = await download(local, { url, needPieceContent: true })
      assert.equal(told.error, undefined)
      assert.ok(told.pieces.every(({ content, length }) => BigInt(content?.length ?? 0) === length))
      verifyBytes(bytesOf(told), from.content)
      assert.equal(bytesOf(told).length, from.content.length)
    }
  })
}

test('DownloadTask delivers content of no bytes', async (t) => {
  const from = await origin(t, { length: 0 })
  const told = await download(await localPeer(t), { url: from.url, needPieceContent: true })
  assert.equal(told.error, undefined)
  assert.equal(told.started?.contentLength, 0n)
  assert.deepEqual(told.pieces, [])
})

test('DownloadTask takes a range from its field, else from the Range header', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const local = await localPeer(t)
  const table: readonly (readonly [DownloadWish, readonly number[], bigint, bigint])[] = [
    [{ range: { start: 5n, length: 7n } }, [0], 5n, 7n],
    [{ requestHeader: { Range: `bytes=${4 * mib}-${4 * mib + 9}` } }, [1], BigInt(4 * mib), 10n],
    [
      { requestHeader: { rAnGe: `bytes=${4 * mib - 1}-${4 * mib}` } },
      [0, 1],
      BigInt(4 * mib - 1),
      2n,
    ],
    [{ requestHeader: { range: `bytes=${8 * mib}-` } }, [2], BigInt(8 * mib), BigInt(mib)],
    [{ requestHeader: { range: 'bytes=-3' } }, [2], BigInt(9 * mib - 3), 3n],
    [{ requestHeader: { range: 'bytes=-99999999' } }, [0, 1, 2], 0n, BigInt(9 * mib)],
    [{ range: { start: 0n, length: 1n }, requestHeader: { range: 'bytes=-3' } }, [0], 0n, 1n],
  ]
  for (const [wish, numbers, start, length] of table) {
    const told = await download(local, { url: from.url, ...wish })
    assert.equal(told.error, undefined)
    assert.deepEqual(numbersOf(told).toSorted(), numbers)
    assert.deepEqual(
      told.started?.pieces.map(({ number }) => number),
      numbers,
    )
    assert.equal(told.started?.range?.start, start)
    assert.equal(told.started?.range?.length, length)
    assert.equal(told.started?.contentLength, BigInt(9 * mib))
  }
  assert.ok(from.requests.every(({ headers }) => headers.range !== 'bytes=-3'))
})

test('DownloadTask verifies the digest whether the bytes travel or not', async (t) => {
  const from = await origin(t, { length: 5 * mib })
  const right = `sha256:${from.content.sha256()}`
  const local = await localPeer(t)
  for (const needPieceContent of [false, true]) {
    const good = await download(local, { url: from.url, digest: right, needPieceContent })
    assert.equal(good.error, undefined)
    const bad = await download(local, {
      url: from.url,
      digest: `sha256:${zeros}`,
      needPieceContent,
    })
    assert.equal(bad.error?.code, Code.DataLoss)
    assert.equal(bad.pieces.length, 2)
  }
})

test('DownloadTask passes on what the origin answered, and says nothing before', async (t) => {
  const from = await origin(t, { answer: () => ({ is: 'status', status: 404 }) })
  const url = from.urlOf('/a?token=secret-value')
  const requestHeader = { authorization: 'Bearer secret-word' }
  const told = await download(await localPeer(t), { url, requestHeader, needPieceContent: true })
  assert.equal(told.started, undefined)
  assert.ok(told.error !== undefined)
  assert.equal(told.error.code, Code.Internal)
  assert.equal(backendDetail(told.error)?.statusCode, 404)
  const shown = `${told.error.message} ${JSON.stringify(backendDetail(told.error))}`
  assert.doesNotMatch(shown, /secret/)
})

test('DownloadTask goes to no origin when that is disabled', async (t) => {
  const from = await origin(t, { length: mib })
  const local = await localPeer(t, { limits: { parentsTimeoutMs: 200 } })
  const told = await download(local, { url: from.url, disableBackToSource: true })
  assert.equal(told.error?.code, Code.Unavailable)
  assert.equal(from.requests.length, 0)
})

test('DownloadTask sends the headers of the request to the origin', async (t) => {
  const from = await origin(t, { length: mib })
  const local = await localPeer(t)
  const requestHeader = { 'x-key': 'word', Range: 'bytes=0-9' }
  await download(local, { url: from.url, requestHeader })
  assert.ok(from.requests.length > 0)
  assert.ok(from.requests.every(({ headers }) => headers['x-key'] === 'word'))
  assert.doesNotMatch(JSON.stringify(local.peer.explain()), /x-key|word/)
})

test('DownloadTask names the task as daemons do', async (t) => {
  const from = await origin(t, { length: 10 })
  const local = await localPeer(t)
  const { url } = from
  const blob = createHash('sha256').update('blob').digest('hex')
  const blobUrl = from.urlOf(`/v2/library/x/blobs/sha256:${blob}`)
  const table: readonly (readonly [DownloadWish, string])[] = [
    [{ url, tag: '', application: '' }, standardTaskId({ url })],
    [{ url, tag: 'a', application: 'b' }, standardTaskId({ url, tag: 'a', application: 'b' })],
    [{ url: `${url}?x=1&y=2`, filteredQueryParams: ['x'] }, standardTaskId({ url: `${url}?y=2` })],
    [{ url, pieceLength: BigInt(8 * mib) }, standardTaskId({ url, pieceLength: 8 * mib })],
    [{ url, contentForCalculatingTaskId: 'a text' }, contentTaskId('a text')],
    [{ url: blobUrl, enableTaskIdBasedBlobDigest: true }, blob],
    [{ url, openCsg: { revision: 'main' } }, standardTaskId({ url, revision: 'main' })],
    [{ url, huggingFace: { revision: 'main' } }, standardTaskId({ url, revision: 'main' })],
  ]
  for (const [wish, id] of table) {
    const ids: string[] = []
    for await (const { taskId } of local.client.downloadTask({ download: wish })) ids.push(taskId)
    assert.deepEqual([...new Set(ids)], [id])
    const { contentLength } = await local.client.statLocalTask({ taskId: id })
    assert.equal(contentLength, 10n)
  }
})

test('DownloadTask refuses what it cannot mean or do', async (t) => {
  const from = await origin(t, { length: 10 })
  const local = await localPeer(t)
  const { url } = from
  const table: readonly (readonly [DownloadWish | undefined, Code])[] = [
    [undefined, Code.InvalidArgument],
    [{}, Code.InvalidArgument],
    [{ url: 'no url' }, Code.InvalidArgument],
    [{ url: 'nobody://host/x' }, Code.InvalidArgument],
    [{ url, outputPath: 'relative' }, Code.InvalidArgument],
    [{ url, outputPath: '/tmp/' }, Code.InvalidArgument],
    [{ url, outputPath: '/tmp/a\0b' }, Code.InvalidArgument],
    [{ url, digest: 'md5:x' }, Code.InvalidArgument],
    [{ url, digest: `sha256:${zeros}`, range: { start: 0n, length: 1n } }, Code.InvalidArgument],
    [
      { url, digest: `sha256:${zeros}`, requestHeader: { range: 'bytes=-1' } },
      Code.InvalidArgument,
    ],
    [{ url, range: { start: 0n, length: 0n } }, Code.InvalidArgument],
    [{ url, range: { start: 2n ** 64n - 1n, length: 1n } }, Code.InvalidArgument],
    [{ url, range: { start: 10n, length: 1n } }, Code.FailedPrecondition],
    [{ url, requestHeader: { range: 'lines=1-2' } }, Code.FailedPrecondition],
    [{ url, requestHeader: { range: 'bytes=0-1,4-5' } }, Code.FailedPrecondition],
    [{ url, requestHeader: { range: 'bytes=9-2' } }, Code.FailedPrecondition],
    [{ url, pieceLength: 5n }, Code.InvalidArgument],
    [{ url, pieceLength: 2n ** 63n }, Code.InvalidArgument],
    [{ url, priority: 7 as never }, Code.InvalidArgument],
    [{ url, requestHeader: { 'bad name': 'x' } }, Code.InvalidArgument],
    [{ url, requestHeader: { name: 'x\r\ny' } }, Code.InvalidArgument],
    [{ url, type: TaskType.PERSISTENT }, Code.Unimplemented],
    [{ url, certificateChain: [new Uint8Array(1)] }, Code.Unimplemented],
    [{ url, objectStorage: { accessKeySecret: 'secret-value' } }, Code.Unimplemented],
    [{ url, objectStorage: { insecureSkipVerify: true } }, Code.Unimplemented],
    [{ url, huggingFace: { revision: 'v2' } }, Code.Unimplemented],
    [{ url, hdfs: { delegationToken: 'secret-value' } }, Code.Unimplemented],
  ]
  for (const [wish, code] of table) {
    const told = await download(local, wish as DownloadWish)
    assert.equal(told.error?.code, code, `${told.error?.message} ${Object.keys(wish ?? {}).join()}`)
    assert.equal(told.started, undefined)
    assert.doesNotMatch(told.error?.message ?? '', /secret/)
  }
  const harmless: DownloadWish = {
    url,
    objectStorage: { predefinedAcl: 'publicRead' },
    remoteIp: '10.0.0.1',
  }
  assert.equal((await download(local, harmless)).error, undefined)
})

test('DownloadTask ends when the time of the tool is over', async (t) => {
  const from = await origin(t, { length: mib, answer: () => ({ is: 'stall' }) })
  const local = await localPeer(t)
  const told = await download(local, { url: from.url, timeout: { seconds: 0n, nanos: 50_000_000 } })
  assert.equal(told.error?.code, Code.DeadlineExceeded)
  await waitFor(() => runsOf(local.peer).length === 0)
})

test('DownloadTask stops fetching when the tool goes away and nobody else wants the task', async (t) => {
  leaks(t)
  const from = await origin(t, { length: 40 * mib, bytesPerSecond: 4 * mib })
  const local = await localPeer(t)
  const one = new AbortController()
  const two = new AbortController()
  const tell = (control: AbortController) =>
    download(local, { url: from.url }, () => undefined, control.signal)
  const calls = [tell(one), tell(two)]
  await waitFor(() => runsOf(local.peer)[0]?.shares === 2)
  assert.equal(runsOf(local.peer).length, 1)
  one.abort()
  await waitFor(() => runsOf(local.peer)[0]?.shares === 1)
  two.abort()
  await waitFor(() => runsOf(local.peer).length === 0)
  for (const { error } of await Promise.all(calls)) assert.equal(error?.code, Code.Canceled)
  assert.ok(from.counts.bytes < 40 * mib)
})

test('DownloadTask for two tools at once asks the origin once', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const local = await localPeer(t)
  const wish = { url: from.url, needPieceContent: true }
  const both = await Promise.all([download(local, wish), download(local, wish)])
  for (const told of both) {
    assert.deepEqual(numbersOf(told).toSorted(), [0, 1, 2])
    verifyBytes(bytesOf(told), from.content)
  }
  assert.equal(from.counts.ranged, 3)
})

test('DownloadTask fetches everything behind a range when asked to prefetch', async (t) => {
  const from = await origin(t, { length: 9 * mib })
  const local = await localPeer(t)
  const range = { start: 0n, length: 1n }
  const told = await download(local, { url: from.url, range, prefetch: true })
  assert.deepEqual(numbersOf(told), [0])
  const taskId = standardTaskId({ url: from.url })
  await waitFor(() => from.counts.ranged === 3)
  await waitFor(() => runsOf(local.peer).length === 0)
  const { finishedAt } = await local.client.statLocalTask({ taskId })
  assert.notEqual(finishedAt, undefined)
})

test('DownloadTask keeps the reason when a source fails in the middle', async (t) => {
  const source: Source = {
    scheme: 'demo',
    stat: async () => ({ length: 9 * mib, ranges: true, headers: {} }),
    async *read({ offset }) {
      if (offset > 0) throw new Error('the well is dry')
      yield new Uint8Array(4 * mib)
    },
  }
  const local = await localPeer(t, { sources: [source] })
  const told = await download(local, { url: 'demo://host/a' })
  assert.notEqual(told.started, undefined)
  assert.equal(told.error?.code, Code.Internal)
  assert.match(told.error.message, /the well is dry/)
})

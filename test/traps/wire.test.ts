import assert from 'node:assert/strict'
import http2 from 'node:http2'
import { createServer, connect as dial, type Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { fromBinary } from '@bufbuild/protobuf'
import { Code } from '@connectrpc/connect'
import { HostSchema } from '../../src/rpc/gen/common/v2/common_pb.ts'
import {
  DeleteTaskRequestSchema,
  DownloadTaskRequestSchema,
  StatTaskRequestSchema,
  SyncHostRequestSchema,
  SyncPiecesRequestSchema,
  SyncPiecesResponseSchema,
} from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import type { Peer } from '../../src/peer/peer.ts'
import { ClientSession } from '../../src/rpc/client-session.ts'
import { encodeRequest, frameBytes } from '../../src/transport/vortex.ts'
import { tcp } from '../../src/transport/tcp/tcp.ts'
import { startPeer, waitFor } from '../peer/start-peer.ts'
import { connect } from '../rpc/bench.ts'
import { envelope, rawCall } from '../rpc/wire.ts'
import { cleanup } from '../support/cleanup.ts'
import { origin } from '../support/origin.ts'
import { verifyBytes } from '../support/verify.ts'
import { hostOf } from '../transport/pair.ts'
import { PieceShelf } from '../transport/piece-shelf.ts'
import { type RawGrpcCall, rawGrpc } from './raw-grpc.ts'
import { onePiece, twoPieces } from './scene.ts'

const limit = { timeout: 30_000 }
const upload = '/dfdaemon.v2.DfdaemonUpload/'

/** What a Rust child sends with each call, and a time that is over long before the answer is. */
const rustHeaders = { 'grpc-timeout': '20000u', 'user-agent': 'tonic/0.12.3' }

/** A child of another make before one of our peers. */
class RustChild {
  readonly #session: http2.ClientHttp2Session

  constructor(t: TestContext, peer: Peer) {
    this.#session = connect(t, uploadPort(peer))
  }

  /** A call whose request half ends at once, as that of a server stream does. */
  call(method: string, body: Buffer): ReturnType<typeof rawCall> & { readonly messages: Buffer[] } {
    const messages: Buffer[] = []
    const call = rawCall(this.#session, `${upload}${method}`, {
      body,
      end: true,
      headers: rustHeaders,
      paused: true,
    })
    let rest = Buffer.alloc(0)
    call.stream.on('data', (bytes: Buffer) => {
      rest = Buffer.concat([rest, bytes])
      while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
        messages.push(rest.subarray(5, 5 + rest.readUInt32BE(1)))
        rest = rest.subarray(5 + rest.readUInt32BE(1))
      }
    })
    return { ...call, messages }
  }
}

function uploadPort(peer: Peer): number {
  return (peer.explain()['host'] as { port: number }).port
}

/** Takes a piece as a Rust child does: its own connection, one request, and FIN as soon as it has the metadata. */
async function takePiece(port: number, taskId: string, number: number): Promise<Buffer> {
  const socket: Socket = dial({ host: '127.0.0.1', port, allowHalfOpen: true })
  let bytes = Buffer.alloc(0)
  let ended = false
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    if (bytes.length > frameBytes && !ended) {
      ended = true
      socket.end()
    }
  })
  const closed = new Promise<void>((resolve, reject) => {
    socket.once('end', resolve)
    socket.once('error', reject)
  })
  socket.write(encodeRequest({ kind: 'standard', taskId, number }))
  await closed
  socket.destroy()
  // The length field of the frame does not cover the content.
  return bytes.subarray(frameBytes + bytes.readUInt32BE(2))
}

describe('A Rust child', { concurrency: 64 }, () => {
  it(
    'gets headers at once, no end after its grpc-timeout, and each piece over a half-closed connection',
    limit,
    async (t) => {
      let go = (): void => undefined
      const gate = new Promise<void>((resolve) => {
        go = resolve
      })
      const from = await origin(t, {
        length: twoPieces,
        answer: async ({ kind }) => {
          if (kind === 'ranged') await gate
          return undefined
        },
      })
      const peer = await startPeer(t, { store: 'memory' })
      const child = new RustChild(t, peer)
      const download = peer.download(from.url)
      const done = download.done
      await from.until(({ counts }) => counts.ranged > 0)
      const [{ task: taskId }] = peer.explain()['tasks'] as [{ task: string }]
      const body = envelope(SyncPiecesRequestSchema, {
        hostId: 'h',
        taskId,
        interestedPieceNumbers: [1, 0, 1, 7, 0xffff_ffff],
      })
      const pieces = child.call('SyncPieces', body)
      const host = child.call(
        'SyncHost',
        envelope(SyncHostRequestSchema, { hostId: 'h', peerId: 'p' }),
      )
      const trigger = child.call(
        'DownloadTask',
        envelope(DownloadTaskRequestSchema, { download: { url: from.url } }),
      )
      const begun = performance.now()
      for (const each of [pieces, host, trigger]) {
        assert.equal((await each.headers)[':status'], 200)
      }
      assert.ok(performance.now() - begun < 8000)
      // Ten times as long as they are given.
      await new Promise((resolve) => setTimeout(resolve, 200))
      assert.deepEqual(
        [pieces, host, trigger].map(({ stream }) => stream.closed),
        [false, false, false],
      )
      go()
      await done
      assert.deepEqual(await pieces.story, ['headers 200', 'trailers grpc-status=0', 'closed 0'])
      assert.deepEqual(await trigger.story, ['headers 200', 'trailers grpc-status=0', 'closed 0'])
      const told = pieces.messages.map((bytes) => fromBinary(SyncPiecesResponseSchema, bytes))
      assert.deepEqual(told.map(({ number }) => number).toSorted(), [0, 1])
      await waitFor(() => host.messages.length > 0)
      const [figures] = host.messages
      assert.ok(figures !== undefined)
      assert.ok((fromBinary(HostSchema, figures).network?.maxTxBandwidth ?? 0n) > 0n)
      host.stream.close(http2.constants.NGHTTP2_CANCEL)
      for (const { number, offset, ip, tcpPort } of told) {
        assert.equal(ip, '127.0.0.1')
        assert.ok(tcpPort !== undefined)
        verifyBytes(await takePiece(tcpPort, taskId, number), from.content, Number(offset))
      }
    },
  )

  it(
    'kills nothing with the calls that kill a Rust daemon, and writes and deletes nothing',
    limit,
    async (t) => {
      const from = await origin(t, { length: onePiece })
      const peer = await startPeer(t, { store: 'memory' })
      const { id } = await peer.download(from.url).done
      const child = new RustChild(t, peer)
      const status = async (method: string, body: Buffer): Promise<Code> => {
        const { story } = child.call(method, body)
        return Number(/grpc-status=(\d+)/.exec((await story).join())?.[1])
      }
      const cacheCalls = [
        ...['DownloadCacheTask', 'StatCacheTask', 'DeleteCacheTask'],
        ...['SyncCachePieces', 'DownloadCachePiece'],
      ]
      for (const method of cacheCalls) {
        assert.equal(await status(method, Buffer.alloc(5)), Code.Unimplemented, method)
      }
      for (const taskId of ['', 'abc', 'abcd', '\u0000'.repeat(64), 'x'.repeat(100_000)]) {
        const body = envelope(StatTaskRequestSchema, { taskId })
        assert.notEqual(await status('StatTask', body), 0, `StatTask ${taskId.slice(0, 5)}`)
        assert.notEqual(await status('StatLocalTask', body), 0)
        const pieces = envelope(SyncPiecesRequestSchema, { taskId, interestedPieceNumbers: [0] })
        assert.equal(await status('SyncPieces', pieces), Code.NotFound)
      }
      const written = { url: from.urlOf('/w'), outputPath: '/tmp/dragonfly-peer-must-not-write' }
      assert.equal(
        await status('DownloadTask', envelope(DownloadTaskRequestSchema, { download: written })),
        Code.PermissionDenied,
      )
      assert.equal(
        await status('DeleteTask', envelope(DeleteTaskRequestSchema, { taskId: id })),
        Code.PermissionDenied,
      )
      assert.equal((await peer.download(from.url).done).traffic.local, onePiece)
      const { requests } = from
      assert.ok(requests.every(({ url }) => url !== '/w'))
    },
  )

  it(
    'gets what a failed or partial download has kept, and a seed with a part fetches the rest',
    limit,
    async (t) => {
      let broken = false
      const from = await origin(t, {
        length: twoPieces,
        answer: ({ range }) => {
          if (!broken || range === undefined || range.offset === 0) return undefined
          return { is: 'status', status: 404 }
        },
      })
      const peer = await startPeer(t, { store: 'memory' })
      const { id } = await peer.download(from.url, { range: { start: 0, length: 10 } }).done
      broken = true
      await assert.rejects(peer.download(from.url).done)
      const child = new RustChild(t, peer)
      const body = envelope(SyncPiecesRequestSchema, { taskId: id, interestedPieceNumbers: [0, 1] })
      const pieces = child.call('SyncPieces', body)
      assert.deepEqual(await pieces.story, ['headers 200', 'trailers grpc-status=0', 'closed 0'])
      const [only] = pieces.messages
      assert.ok(only !== undefined && pieces.messages.length === 1)
      const { tcpPort } = fromBinary(SyncPiecesResponseSchema, only)
      verifyBytes(await takePiece(tcpPort ?? 0, id, 0), from.content)
      broken = false
      const download = { url: from.url, needBackToSource: true }
      const trigger = child.call('DownloadTask', envelope(DownloadTaskRequestSchema, { download }))
      assert.deepEqual((await trigger.story).at(-2), 'trailers grpc-status=0')
      assert.equal((await peer.download(from.url).done).traffic.local, twoPieces)
    },
  )
})

describe('The process', () => {
  it(
    'ClientSession resets a call with CANCEL alone: anything else makes Node use freed memory',
    limit,
    async (t) => {
      const calls: RawGrpcCall[] = []
      const server = await rawGrpc(t, (call) => void calls.push(call))
      const session = new ClientSession(
        { host: '127.0.0.1', port: server.port },
        {
          connectTimeoutMs: 1000,
          idleTimeoutMs: 1000,
          pingIntervalMs: 60_000,
          pingTimeoutMs: 1000,
        },
      )
      cleanup(t, () => session.close())
      const codes = [http2.constants.NGHTTP2_INTERNAL_ERROR, http2.constants.NGHTTP2_NO_ERROR]
      for (const code of codes) {
        const stream = await session.request('POST', '/a', {}, {})
        stream.on('error', () => undefined)
        await waitFor(() => calls.length > 0)
        stream.close(code)
        const call = calls.pop()
        await waitFor(() => call?.stream.destroyed === true)
        assert.equal(call?.stream.rstCode, http2.constants.NGHTTP2_CANCEL)
      }
    },
  )

  it(
    'tcp() listens again on the port of a server that closed its connections first',
    limit,
    async (t) => {
      const shelf = new PieceShelf(Buffer.alloc(10), 10)
      const spare = createServer().listen(0, '127.0.0.1')
      await waitFor(() => spare.listening)
      const { port } = spare.address() as { port: number }
      await new Promise((resolve) => spare.close(resolve))
      for (let count = 0; count < 3; count++) {
        const parent = tcp()({ ...hostOf(shelf), listen: { ip: '127.0.0.1', port } })
        cleanup(t, () => parent.destroy(new Error('The test is over')))
        await parent.listen()
        const socket = dial({ host: '127.0.0.1', port })
        const ended = new Promise((resolve) => socket.once('end', resolve))
        await new Promise((resolve) => socket.once('connect', resolve))
        // The server ends first: its side of the connection stays in TIME_WAIT.
        await parent.close(100)
        await ended
      }
    },
  )
})

import assert from 'node:assert/strict'
import test, { describe, it } from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { Code } from '@connectrpc/connect'
import {
  type SyncPiecesRequest,
  type SyncPiecesResponse,
  SyncPiecesResponseSchema,
} from '../../src/rpc/gen/dfdaemon/v2/dfdaemon_pb.ts'
import { PeerError } from '../../src/errors.ts'
import { HostChannels } from '../../src/peer/host-channels.ts'
import { feedHeadersTimeoutMs, ParentFeed } from '../../src/peer/parent-feed.ts'
import { pieceAt } from '../../src/task/piece.ts'
import { deferred } from '../../src/util/deferred.ts'
import { waitFor } from '../peer/start-peer.ts'
import { envelope } from '../rpc/wire.ts'
import { VirtualClock } from '../sim/clock.ts'
import { spec } from '../sim/content.ts'
import type { RawGrpcCall } from './raw-grpc.ts'
import type { RustParent } from './rust-parent.ts'
import { assertTraffic, onePiece, scene, type SceneOptions, twoPieces } from './scene.ts'

const limit = { timeout: 60_000 }
/** Of many at once none gives up for want of time. */
const patient: SceneOptions = { peer: { limits: { parentsTimeoutMs: 40_000 } } }

type Sync = (call: RawGrpcCall, request: SyncPiecesRequest, parent: RustParent) => void

type Told = Exclude<MessageInitShape<typeof SyncPiecesResponseSchema>, SyncPiecesResponse>

/** The right word about the first piece, with something else in it. */
function told(parent: RustParent, more: Told): Told {
  const { length } = pieceAt(parent.cut, 0)
  const right = { number: 0, offset: 0n, length: BigInt(length), ip: parent.ip }
  return { ...right, tcpPort: parent.tcpPort, ...more }
}

/** Says one thing about the first piece, and keeps the stream. */
function says(more: Told): Sync {
  return (call, _, parent) => call.send(SyncPiecesResponseSchema, told(parent, more))
}

/** Sends the same bytes again and again, as fast as they are taken. */
function forever(call: RawGrpcCall, bytes: Uint8Array): void {
  call.respond()
  const more = (): void => {
    let room = true
    while (room) room = !call.gone && call.stream.write(bytes)
  }
  call.stream.on('drain', more)
  more()
}

const bad: readonly (readonly [string, Sync])[] = [
  [
    'fails with INTERNAL in the trailers',
    (call) => {
      call.respond()
      call.end(Code.Internal, 'task not found')
    },
  ],
  ['is always RESOURCE_EXHAUSTED', (call) => call.end(Code.ResourceExhausted, 'shed')],
  ['has no such method', (call) => call.end(Code.Unimplemented)],
  ['lets the deadline pass', (call) => call.end(Code.DeadlineExceeded)],
  [
    'ends without a word, each time',
    (call) => {
      call.respond()
      call.end()
    },
  ],
  ['tells nothing, without end', (call) => forever(call, envelope(SyncPiecesResponseSchema, {}))],
  [
    'tells the same piece without end',
    (call, _, parent) => {
      forever(call, envelope(SyncPiecesResponseSchema, told(parent, {})))
    },
  ],
  ['tells a piece past the end', says({ number: 1, offset: 4n * 1024n * 1024n, length: 5n })],
  ['tells the last number there is', says({ number: 0xffff_ffff })],
  ['tells another offset', says({ offset: 1n })],
  ['tells another length', says({ length: 5n })],
  ['tells no length', says({ length: 0n })],
  ['tells figures of 64 bits', says({ offset: 2n ** 64n - 1n, length: 2n ** 63n })],
  ['tells a name for an address', says({ ip: 'localhost' })],
  ['tells no address', says({ ip: '' })],
  [
    'tells a further piece past the end',
    says({ ownMore: [{ number: 1, offset: 4n * 1024n * 1024n, length: 5n }] }),
  ],
  [
    'tells further pieces with figures of 64 bits',
    says({ ownMore: [{ number: 0, offset: 0n, length: 2n ** 63n }] }),
  ],
  [
    'tells more pieces at once than anybody would',
    says({ ownMore: Array.from({ length: 100_000 }, () => ({ number: 0, length: 5n })) }),
  ],
  ['tells another digest than its piece has', says({ ownDigest: 'crc32:1' })],
  ['tells another version', says({ ownVersion: 'ab'.repeat(16) })],
  ['sends what is no message', (call) => call.write(Buffer.from([0, 0, 0, 0, 2, 0xff, 0xff]))],
  ['announces a message of 4 GiB', (call) => call.write(Buffer.from([0, 255, 255, 255, 255, 1]))],
  ['sends what it calls compressed', (call) => call.write(Buffer.from([1, 0, 0, 0, 1, 0]))],
  [
    'answers in HTML',
    (call) => {
      call.stream.respond({ ':status': 503, 'content-type': 'text/html' })
      call.stream.end('<p>busy</p>')
    },
  ],
  [
    'sends no trailers',
    (call) => {
      call.stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
      call.stream.end()
    },
  ],
  ['resets the stream', (call) => call.reset(2)],
  ['breaks the connection', (call) => call.cut()],
]

test(
  'ParentFeed.watch() gives up a parent that does not even begin to answer',
  limit,
  async (t) => {
    const { parents } = await scene(t)
    const [parent] = parents
    assert.ok(parent !== undefined)
    const asked = deferred<void>()
    parent.onSync = () => asked.resolve()
    const channels = new HostChannels()
    t.after(() => channels.close())
    const clock = new VirtualClock()
    const feed = new ParentFeed(channels, 'me', clock)
    const { ip, port } = parent
    const who = { id: 'p', hostId: 'h', ip, port, seed: false }
    const request = { spec, numbers: [0] }
    const watching = feed.watch(who, request, () => undefined, new AbortController().signal)
    const given = assert.rejects(watching, (error) => PeerError.is(error, 'PARENT_UNREACHABLE'))
    await asked.promise
    await clock.pass(feedHeadersTimeoutMs)
    await given
    // One that has begun may be silent for as long as it likes.
    parent.onSync = (call) => call.respond()
    const life = new AbortController()
    const reason = new Error('enough')
    const quiet = feed.watch(who, request, () => undefined, life.signal)
    await waitFor(() => clock.pending === 0 && parent.synced.length === 2)
    await clock.pass(100 * feedHeadersTimeoutMs)
    life.abort(reason)
    await assert.rejects(quiet, (error) => error === reason)
  },
)

describe('A parent that', { concurrency: 64 }, () => {
  for (const [name, sync] of bad) {
    it(`${name} costs time and nothing else`, limit, async (t) => {
      const both = await scene(t, { ...patient, parents: 2 })
      const alone = await scene(t)
      for (const { parents } of [both, alone]) {
        const [parent] = parents
        assert.ok(parent !== undefined)
        parent.onSync = (call, request) => sync(call, request, parent)
      }
      const [fromOther, fromOrigin] = await Promise.all([
        both.download({ backToSource: 'never' }),
        alone.download(),
      ])
      assertTraffic(fromOther, { source: 0, peers: onePiece })
      assertTraffic(fromOrigin, { source: onePiece, peers: 0 })
    })
  }

  for (const [name, more] of [
    ['names port 0', { tcpPort: 0 }],
    ['names a negative port', { tcpPort: -1 }],
    ['names a port past the last', { tcpPort: 70_000 }],
    ['names no TCP port', { tcpPort: undefined, quicPort: 4006 }],
  ] as const) {
    it(`${name} is not asked for pieces, over no other port either`, limit, async (t) => {
      const { parents, download } = await scene(t)
      const [parent] = parents
      assert.ok(parent !== undefined)
      parent.onSync = (call) => {
        const { tcpPort: _, ...right } = told(parent, {})
        const { tcpPort, ...others } = more
        const port = tcpPort === undefined ? {} : { tcpPort }
        call.send(SyncPiecesResponseSchema, { ...right, ...others, ...port })
        call.end()
      }
      assertTraffic(await download(), { source: onePiece, peers: 0 })
      assert.deepEqual(parent.asked, [])
      // Nothing but gRPC ever came to its gRPC port.
      assert.deepEqual([...new Set(parent.paths)], ['/dfdaemon.v2.DfdaemonUpload/SyncPieces'])
    })
  }

  it(
    'tells a digest and a version that are none is taken for one that tells neither',
    limit,
    async (t) => {
      const { parents, download } = await scene(t)
      const [parent] = parents
      assert.ok(parent !== undefined)
      const sync = says({ ownDigest: 'crc32:none', ownVersion: 'X'.repeat(1000) })
      parent.onSync = (call, request) => sync(call, request, parent)
      assertTraffic(await download(), { source: 0, peers: onePiece })
    },
  )

  it('is RESOURCE_EXHAUSTED for a moment is asked again', limit, async (t) => {
    const { parents, download, scheduler } = await scene(t, patient)
    const [parent] = parents
    assert.ok(parent !== undefined)
    parent.onSync = (call, request) => {
      if (parent.synced.length < 3) call.end(Code.ResourceExhausted, 'shed')
      else parent.tellAll(call, request)
    }
    assertTraffic(await download({ backToSource: 'never' }), { source: 0, peers: onePiece })
    assert.equal(parent.synced.length, 3)
    // There may be a question for more parents meanwhile, but nobody is named in it as useless.
    for (const { case: said, value } of scheduler.stream.requests) {
      if (said === 'reschedulePeerRequest') assert.deepEqual(value.candidateParents, [])
    }
  })

  it(
    'sends its headers late, each piece twice and fields that nobody knows is a good parent',
    limit,
    async (t) => {
      const { parents, download } = await scene(t, { ...patient, length: twoPieces })
      const [parent] = parents
      assert.ok(parent !== undefined)
      parent.onSync = async (call, { interestedPieceNumbers: numbers }) => {
        await new Promise((resolve) => setTimeout(resolve, 300))
        for (const number of [...numbers, ...numbers]) {
          const { offset, length } = pieceAt(parent.cut, number)
          const piece = { number, offset: BigInt(offset), length: BigInt(length) }
          const bytes = envelope(SyncPiecesResponseSchema, told(parent, piece))
          // Field 77, a text, and field 78, a number.
          const unknown = Buffer.from([0xea, 0x04, 0x02, 0x68, 0x69, 0xf0, 0x04, 0x07])
          bytes.writeUInt32BE(bytes.length - 5 + unknown.length, 1)
          call.write(Buffer.concat([bytes, unknown]))
        }
        call.end()
      }
      assertTraffic(await download({ backToSource: 'never' }), { source: 0, peers: twoPieces })
      assert.deepEqual(parent.asked.toSorted(), [0, 1])
    },
  )
})

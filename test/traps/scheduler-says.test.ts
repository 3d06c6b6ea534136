import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { PeerError } from '../../src/errors.ts'
import type { Priority, TaskType } from '../../src/rpc/gen/common/v2/common_pb.ts'
import { AnnouncePeerResponseSchema } from '../../src/rpc/gen/scheduler/v2/scheduler_pb.ts'
import { waitFor } from '../peer/start-peer.ts'
import { envelope } from '../rpc/wire.ts'
import { subscribed } from '../scheduler/subscribed.ts'
import { type Announced, type Candidate, taskOf } from './go-scheduler.ts'
import type { RustParent } from './rust-parent.ts'
import { assertTraffic, onePiece, scene } from './scene.ts'

const limit = { timeout: 30_000 }

/** What a scheduler does about each registration and each question for others. */
type Says = (stream: Announced, parent: RustParent) => void

function candidate(host: Candidate['host']): Candidate {
  return { id: 'nobody', state: 'Running', host, task: taskOf(onePiece) }
}

const host = { id: 'h', hostname: 'h', ip: '127.0.0.1', port: 4000 }

const nonsense: readonly (readonly [string, Says])[] = [
  [
    'says nothing that has a meaning',
    (stream) => {
      for (let count = 0; count < 100; count++) stream.call.send(AnnouncePeerResponseSchema, {})
    },
  ],
  [
    'gives an answer of a kind that nobody knows',
    (stream) => {
      // Field 99, a message.
      for (let count = 0; count < 100; count++) {
        stream.call.write(Buffer.from([0, 0, 0, 0, 5, 0x9a, 0x06, 0x02, 0x08, 0x01]))
      }
    },
  ],
  [
    'names no parents, without end',
    (stream) => {
      for (let count = 0; count < 100; count++) stream.parents()
    },
  ],
  ['names candidates without a host', (stream) => stream.parents({ id: 'a' }, {}, candidate({}))],
  [
    'names hosts without a literal address',
    (stream) => {
      for (const ip of ['', 'localhost', '256.1.1.1', 'fe80::1%eth0', '127.0.0.1:80', '\u0000']) {
        stream.parents(candidate({ ...host, ip }))
      }
    },
  ],
  [
    'names hosts without a port',
    (stream) => {
      for (const port of [0, -1, 65_536, 2 ** 31 - 1, -(2 ** 31)]) {
        stream.parents(candidate({ ...host, port }))
      }
    },
  ],
  ['names hosts where nobody listens', (stream) => stream.parents(candidate({ ...host, port: 1 }))],
  [
    'says that there is nothing to download',
    (stream) => {
      stream.answer({ case: 'emptyTaskResponse', value: {} })
    },
  ],
  [
    'takes it for an announcement',
    (stream) => {
      stream.answer({ case: 'metadataOnlyResponse', value: {} })
    },
  ],
  [
    'ends the stream in order',
    (stream) => {
      stream.call.respond()
      stream.call.end()
    },
  ],
  ['resets the stream', (stream) => stream.call.reset(2)],
  [
    'ends without trailers',
    (stream) => {
      stream.call.stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
      stream.call.stream.end()
    },
  ],
  [
    'answers in HTML',
    (stream) => {
      stream.call.stream.respond({ ':status': 502, 'content-type': 'text/html' })
      stream.call.stream.end('<p>bad gateway</p>')
    },
  ],
  ['sends what is no message', (stream) => stream.call.write(Buffer.from([0, 0, 0, 0, 2, 255, 9]))],
  [
    'announces a message of 4 GiB',
    (stream) => {
      stream.call.write(Buffer.from([0, 255, 255, 255, 255, 1]))
    },
  ],
  [
    'sends what it calls compressed',
    (stream) => {
      stream.call.write(Buffer.from([1, 0, 0, 0, 1, 0]))
    },
  ],
]

describe('A scheduler that', { concurrency: 64 }, () => {
  for (const [name, says] of nonsense) {
    it(`${name} costs time and nothing else`, limit, async (t) => {
      const { download } = await scene(t, {
        on:
          ([parent]) =>
          (stream, { case: said }) => {
            assert.ok(parent !== undefined)
            if (said === 'registerPeerRequest' || said === 'reschedulePeerRequest') {
              says(stream, parent)
            }
          },
      })
      assertTraffic(await download(), { source: onePiece, peers: 0 })
    })
  }

  it('names this very host is not believed', limit, async (t) => {
    const { download } = await scene(t, {
      on:
        () =>
        (stream, { case: said }) => {
          if (said === 'reschedulePeerRequest') stream.source()
          if (said !== 'registerPeerRequest') return
          const [me] = stream.scheduler.hosts
          assert.ok(me !== undefined)
          stream.parents({ id: 'me', state: 'Running', host: me, task: taskOf(onePiece) })
        },
    })
    const dropped = subscribed(t, 'dragonfly-peer:parent:dropped')
    assertTraffic(await download(), { source: onePiece, peers: 0 })
    const me = dropped.filter(({ parent }) => parent === 'me')
    assert.deepEqual(
      me.map(({ code }) => code),
      ['PARENT_PROTOCOL'],
    )
  })

  it('orders to the origin does not get there what must not go there', limit, async (t) => {
    // Without the length, and after a parent told it that has nothing.
    for (const lengthTold of [false, true]) {
      const { download, from, parents, peer, scheduler } = await scene(t, {
        on:
          ([parent]) =>
          (stream, { case: said }) => {
            if (said !== 'registerPeerRequest' && said !== 'reschedulePeerRequest') return
            const first = stream.scheduler.streams.length === 1
            if (lengthTold && first && parent !== undefined) stream.parents(parent.candidate())
            else stream.source()
          },
        peer: { limits: { parentsTimeoutMs: 1000 } },
      })
      parents[0]?.haves.clear()
      await assert.rejects(download({ backToSource: 'never' }), (error) =>
        PeerError.is(error, 'NO_PARENTS'),
      )
      assert.deepEqual(from.requests, [])
      assert.equal(scheduler.stream.count('downloadPeerBackToSourceStartedRequest'), 0)
      if (lengthTold) assert.ok(scheduler.streams.length > 1)
      await waitFor(() => (peer.explain()['tasks'] as []).length === 0)
    }
  })

  it('uses numbers of enums that nobody knows, and fields too, is understood', limit, async (t) => {
    const { download } = await scene(t, {
      on:
        ([parent]) =>
        (stream, { case: said }) => {
          if (said !== 'registerPeerRequest' || parent === undefined) return
          const bytes = envelope(AnnouncePeerResponseSchema, {
            response: {
              case: 'normalTaskResponse',
              value: {
                candidateParents: [
                  {
                    id: 'good',
                    priority: 77 as Priority,
                    state: 'Levitating',
                    host: {
                      id: 'rust',
                      hostname: 'r',
                      ip: parent.ip,
                      port: parent.port,
                      type: 9,
                    },
                    task: { type: 99 as TaskType, state: '?', contentLength: BigInt(onePiece) },
                  },
                ],
              },
            },
          })
          const unknown = Buffer.from([0xf0, 0x04, 0x07])
          bytes.writeUInt32BE(bytes.length - 5 + unknown.length, 1)
          stream.call.write(Buffer.concat([bytes, unknown]))
        },
    })
    assertTraffic(await download({ backToSource: 'never' }), { source: 0, peers: onePiece })
  })

  it('names ten thousand candidates is taken in part', limit, async (t) => {
    const { download } = await scene(t, {
      on:
        ([parent]) =>
        (stream, { case: said }) => {
          if (said !== 'registerPeerRequest' || parent === undefined) return
          const many = Array.from({ length: 10_000 }, (_, at) => ({ id: `p${at}` }))
          stream.parents(parent.candidate(), ...many)
        },
    })
    assertTraffic(await download({ backToSource: 'never' }), { source: 0, peers: onePiece })
  })

  it('gives a sixth answer is still heard', limit, async (t) => {
    const { download, scheduler } = await scene(t, {
      on:
        ([parent]) =>
        (stream, { case: said }) => {
          if (said !== 'registerPeerRequest' || parent === undefined) return
          for (let count = 0; count < 5; count++) {
            stream.parents({
              ...candidate({ ...host, port: 1 }),
              id: `nobody-${count}`,
            })
          }
          stream.parents(parent.candidate())
        },
    })
    assertTraffic(await download({ backToSource: 'never' }), { source: 0, peers: onePiece })
    await waitFor(() => scheduler.stream.heard.at(-1) === 'downloadPeerFinishedRequest')
  })

  for (const [name, length] of [
    ['a length of 2⁶⁴ − 1', 2n ** 64n - 1n],
    ['a length beyond all pieces', 2n ** 52n],
    ['a length of 0', 0n],
    ['another length', 5n],
  ] as const) {
    it(
      `tells ${name} for content without one is no reason to hang or to believe it`,
      limit,
      async (t) => {
        const { download, scheduler } = await scene(t, {
          origin: { lengthKnown: false, ranges: false },
          on:
            ([parent]) =>
            (stream, { case: said }) => {
              if (said !== 'registerPeerRequest' && said !== 'reschedulePeerRequest') return
              if (parent === undefined) return
              stream.parents({ ...parent.candidate(), task: taskOf(length) } as Candidate)
            },
        })
        // A length that can be is believed, and found to be wrong.
        if (length === 5n) {
          await assert.rejects(download(), (error) => PeerError.is(error, 'ORIGIN_PROTOCOL'))
        } else {
          assert.equal((await download()).length, onePiece)
        }
        assert.ok(scheduler.streams.every((stream) => stream.requests.length < 50))
      },
    )
  }
})
